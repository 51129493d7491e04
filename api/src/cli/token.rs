//! Issues a token from the command line: for an operator, a script or a load test.

use std::time::Duration;

use chrono::{DateTime, Utc};
use errand_shared::storage::Pool;
use errand_shared::{Uuid, service::config::Exit, storage::users};

use crate::{auth::Authenticator, settings::AuthSettings};

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A bad setting; its text names it.
    #[error("{}", .0.text.trim_end())]
    Setting(Exit),
    /// An outside identity provider issues the tokens.
    #[error("an outside identity provider issues the tokens")]
    IssuedElsewhere,
    /// Nobody has the id: the token would be refused.
    #[error("there is no user {0}")]
    UnknownUser(Uuid),
    /// The token can't be signed.
    #[error("the token can't be signed: {0}")]
    Sign(String),
    /// A fault of Postgres.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Issues a token for a user; with the role `admin` only if asked, whoever the user is. Without a time to live it has
/// that of the settings.
///
/// # Errors
/// See [`TokenError`].
pub async fn token(
    settings: &AuthSettings,
    pool: &Pool,
    user_id: Uuid,
    admin: bool,
    ttl: Option<Duration>,
    now: DateTime<Utc>,
) -> Result<String, TokenError> {
    let authenticator = Authenticator::new(settings, pool.clone()).map_err(TokenError::Setting)?;
    if authenticator.is_outside() {
        return Err(TokenError::IssuedElsewhere);
    }
    if users::find(pool, user_id).await?.is_none() {
        return Err(TokenError::UnknownUser(user_id));
    }
    let role = if admin { "admin" } else { "user" };
    authenticator
        .issue(user_id, role, now, ttl.unwrap_or(settings.jwt_ttl_seconds))
        .map_err(|error| TokenError::Sign(error.to_string()))
}
