//! Who a caller is: tokens checked and issued, users known for a moment, what handlers take from a request.
//!
//! Passwords and refresh tokens are how a person gets a token; a request shows only the token.

mod client_addr;
mod extract;
#[cfg(test)]
mod fixtures;
mod keys;
pub(crate) mod passwords;
pub(crate) mod refresh;
pub(crate) mod session;
mod tokens;
mod user_cache;
pub(crate) mod validation;

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use errand_shared::storage::Pool;
use errand_shared::{Uuid, domain::clock::Clock, service::config::Exit};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    client_addr::Client,
    extract::{Admin, Caller, OwnTokens, PROTOCOL, SocketCaller},
};
use self::{passwords::Passwords, tokens::Tokens, user_cache::UserCache};
use crate::{http::error::ApiError, settings::AuthSettings};

/// What a caller may do beside their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Nothing.
    User,
    /// The routes below `/admin`.
    Admin,
}

impl Role {
    /// The role of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user.
    pub(crate) user_id: Uuid,
    /// What they may do.
    pub(crate) role: Role,
    /// When the token ends; it is taken for a few seconds longer.
    pub(crate) expires_at: DateTime<Utc>,
}

/// Checks and issues tokens.
pub(crate) struct Authenticator {
    tokens: Tokens,
    known: UserCache,
    passwords: Passwords,
    clock: Clock,
}

impl Authenticator {
    /// The keys of the settings.
    ///
    /// # Errors
    /// A bad setting, by its name.
    pub(crate) fn new(settings: &AuthSettings, pool: Pool) -> Result<Self, Exit> {
        Ok(Self {
            tokens: Tokens::new(settings)?,
            known: UserCache::new(pool, &settings.jwt_issuer),
            passwords: Passwords::new(settings.password_hashes_at_once)?,
            clock: Clock::system(),
        })
    }

    /// With another bound for what a check does in Postgres than the default of the setting.
    #[must_use]
    pub(crate) fn with_database_timeout(mut self, timeout: Duration) -> Self {
        self.known.set_timeout(timeout);
        self
    }

    /// Checks a token and that its user exists; a user of an outside identity provider is made at first sight.
    ///
    /// # Errors
    /// [`ApiError::Unauthorized`] for a bad token or a user that is gone, [`ApiError::DatabaseAway`] if nobody can
    /// tell.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        let checked = self
            .tokens
            .check(token, self.clock.now())
            .map_err(ApiError::Unauthorized)?;
        let user_id = self.known.find(checked.subject).await?;
        Ok(Identity {
            user_id,
            role: checked.role,
            expires_at: checked.expires_at,
        })
    }

    /// Issues a token.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if an outside identity provider issues the tokens; a role that does not exist or a fault
    /// of signing.
    pub(crate) fn issue(
        &self,
        user_id: Uuid,
        role: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<String, ApiError> {
        let role = Role::from_name(role)
            .ok_or_else(|| ApiError::Internal(format!("no role is called {role:?}").into()))?;
        self.tokens.issue(user_id, role, now, ttl)
    }

    /// Whether an outside identity provider issues the tokens.
    pub(crate) fn is_outside(&self) -> bool {
        self.tokens.is_outside()
    }

    pub(crate) const fn passwords(&self) -> &Passwords {
        &self.passwords
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("outside", &self.is_outside())
            .finish_non_exhaustive()
    }
}
