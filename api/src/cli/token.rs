//! `errand-api token`: issues an access token for operators, scripts and load tests.

use std::time::Duration;

use chrono::{DateTime, Utc};
use errand_shared::storage::Pool;
use errand_shared::{Uuid, service::config::Exit, storage::users};

use crate::{auth::Authenticator, settings::AuthSettings};

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A setting is invalid. The text names it.
    #[error("{}", .0.text.trim_end())]
    Setting(Exit),
    /// An external identity provider issues the tokens.
    #[error("an external identity provider issues the tokens")]
    IssuedElsewhere,
    /// There is no user with this id.
    #[error("there is no user {0}")]
    UnknownUser(Uuid),
    /// Signing failed.
    #[error("cannot sign the token: {0}")]
    Sign(String),
    /// A database error.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Issues a token for a user. `admin` alone decides whether the token has the role `admin`. Without `ttl`, the token expires
/// after `JWT_TTL_SECONDS`.
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
    if authenticator.is_external() {
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
