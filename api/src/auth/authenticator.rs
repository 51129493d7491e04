//! Verifies and issues access tokens.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use errand_shared::{Uuid, domain::clock::Clock, service::config::Exit, storage::Pool};

use super::{
    identity::{Identity, Role},
    passwords::Passwords,
    tokens::Tokens,
    user_cache::UserCache,
};
use crate::{http::error::ApiError, settings::AuthSettings};

/// Verifies and issues access tokens.
pub(crate) struct Authenticator {
    tokens: Tokens,
    users: UserCache,
    passwords: Passwords,
    clock: Clock,
}

impl Authenticator {
    /// # Errors
    /// If a setting is invalid; the error names it.
    pub(crate) fn new(settings: &AuthSettings, pool: Pool) -> Result<Self, Exit> {
        Ok(Self {
            tokens: Tokens::new(settings)?,
            users: UserCache::new(pool, &settings.jwt_issuer),
            passwords: Passwords::new(settings.password_hashes_at_once)?,
            clock: Clock::system(),
        })
    }

    /// Sets the time limit of a user lookup.
    #[must_use]
    pub(crate) fn with_database_timeout(mut self, timeout: Duration) -> Self {
        self.users.set_timeout(timeout);
        self
    }

    /// Verifies a token and that its user exists. A user of an external identity provider is created on first use.
    ///
    /// # Errors
    /// [`ApiError::Unauthorized`] if the token is invalid or its user was deleted, [`ApiError::DatabaseUnavailable`] if the user cannot
    /// be looked up.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        let claims = self
            .tokens
            .verify(token, self.clock.now())
            .map_err(ApiError::Unauthorized)?;
        let user_id = self.users.find(claims.subject).await?;
        Ok(Identity {
            user_id,
            role: claims.role,
            expires_at: claims.expires_at,
        })
    }

    /// Issues a token.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if an external identity provider issues the tokens; [`ApiError::Internal`] if the role is unknown
    /// or signing fails.
    pub(crate) fn issue(
        &self,
        user_id: Uuid,
        role: &str,
        now: DateTime<Utc>,
        ttl: Duration,
    ) -> Result<String, ApiError> {
        let role = Role::from_name(role)
            .ok_or_else(|| ApiError::Internal(format!("unknown role {role:?}").into()))?;
        self.tokens.issue(user_id, role, now, ttl)
    }

    /// Whether an external identity provider issues the tokens.
    pub(crate) fn is_external(&self) -> bool {
        self.tokens.is_external()
    }

    pub(crate) const fn passwords(&self) -> &Passwords {
        &self.passwords
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("external", &self.is_external())
            .finish_non_exhaustive()
    }
}
