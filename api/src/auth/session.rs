//! Registers users, logs them in and out, and refreshes their tokens.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    domain::clock::Clock,
    storage::{
        auth_tokens::{self, NewToken, RefreshOutcome},
        users::{self, User},
    },
};
use sqlx::{Connection, PgConnection};

use super::{authenticator::Authenticator, client_addr::Client, refresh, validation::Validation};
use crate::{
    http::{database::Database, error::ApiError, rate_limits::RateLimits},
    settings::AuthSettings,
};

/// What registering and logging in need. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SessionState {
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) database: Database,
    pub(crate) rates: Arc<RateLimits>,
    pub(crate) access_token_ttl: Duration,
    pub(crate) refresh_token_ttl: Duration,
    pub(crate) clock: Clock,
}

impl SessionState {
    pub(crate) fn new(
        settings: &AuthSettings,
        auth: Arc<Authenticator>,
        database: Database,
        rates: Arc<RateLimits>,
    ) -> Self {
        Self {
            auth,
            database,
            rates,
            access_token_ttl: settings.jwt_ttl_seconds,
            refresh_token_ttl: settings.refresh_ttl_seconds,
            clock: Clock::system(),
        }
    }
}

/// The e-mail address and password that a user enters.
#[derive(Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) email: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

/// A user who is logged in.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) user: User,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// Creates a user and logs them in.
pub(crate) async fn register(
    state: &SessionState,
    client: Client,
    credentials: Credentials<'_>,
    name: Option<&str>,
) -> Result<Session, ApiError> {
    let mut fields = Validation::default();
    let email = fields.email(credentials.email);
    let password = fields.new_password(credentials.password);
    let name = fields.name(name);
    fields.finish()?;
    state.rates.auth(client.address, Some(&email))?;
    let hash = state.auth.passwords().hash(password).await?;
    let refresh_token = refresh::random_text();
    let created = state.database.run(async {
        let mut connection = state.database.pool.get().await?;
        let mut transaction = connection.begin().await?;
        let Some(user) =
            users::create(&mut *transaction, Uuid::now_v7(), &email, &name, &hash, "user").await?
        else {
            transaction.rollback().await?;
            connection.release();
            return Ok(None);
        };
        store(state, &mut transaction, user.id, Uuid::now_v7(), &refresh_token).await?;
        transaction.commit().await?;
        connection.release();
        Ok(Some(user))
    });
    match created.await? {
        Some(user) => session(state, user, refresh_token),
        None => Err(ApiError::Conflict(
            "The e-mail address is already registered.".to_owned(),
        )),
    }
}

/// Logs a user in.
pub(crate) async fn log_in(
    state: &SessionState,
    client: Client,
    credentials: Credentials<'_>,
) -> Result<Session, ApiError> {
    let mut fields = Validation::default();
    let email = fields.login_email(credentials.email);
    let password = fields.login_password(credentials.password);
    fields.finish()?;
    state.rates.auth(client.address, Some(&email))?;
    let (user, hash) = match state
        .database
        .run(users::find_by_email(&state.database.pool, &email))
        .await?
    {
        Some((user, Some(hash))) => (Some(user), Some(hash)),
        _ => (None, None),
    };
    // An unknown user takes the same time, so that timing does not reveal which addresses are registered.
    let is_correct = state.auth.passwords().verify(password, hash).await?;
    let Some(user) = user.filter(|_| is_correct) else {
        return Err(ApiError::Unauthorized(
            "The e-mail address or the password is wrong.",
        ));
    };
    let refresh_token = refresh::random_text();
    let stored = state.database.run(async {
        let mut connection = state.database.pool.get().await?;
        let mut transaction = connection.begin().await?;
        auth_tokens::delete_expired(&mut *transaction, user.id).await?;
        store(state, &mut transaction, user.id, Uuid::now_v7(), &refresh_token).await?;
        transaction.commit().await?;
        connection.release();
        Ok(())
    });
    stored.await?;
    session(state, user, refresh_token)
}

/// Exchanges a refresh token for new tokens of the same login.
pub(crate) async fn refresh(state: &SessionState, token: Option<&str>) -> Result<Session, ApiError> {
    const INVALID: ApiError = ApiError::Unauthorized("The refresh token is invalid; log in again.");
    let Some(token) = token else {
        return Err(ApiError::Unauthorized("A refresh token is required."));
    };
    let next = refresh::random_text();
    let refreshed = state.database.run(async {
        let mut connection = state.database.pool.get().await?;
        let mut transaction = connection.begin().await?;
        let user = match auth_tokens::redeem(&mut transaction, &refresh::hash(token)).await? {
            RefreshOutcome::Valid { family_id, user_id } => {
                store(state, &mut transaction, user_id, family_id, &next).await?;
                users::find(&mut *transaction, user_id).await?
            }
            RefreshOutcome::Invalid => None,
        };
        // Committed for an invalid token too: its reuse may have revoked the whole login.
        transaction.commit().await?;
        connection.release();
        Ok(user)
    });
    match refreshed.await? {
        Some(user) => session(state, user, next),
        None => Err(INVALID),
    }
}

/// Revokes all refresh tokens of a login. An unknown token is ignored.
pub(crate) async fn log_out(state: &SessionState, token: &str) -> Result<(), ApiError> {
    let revoked = state.database.run(async {
        let mut connection = state.database.pool.get().await?;
        let mut transaction = connection.begin().await?;
        auth_tokens::revoke_family(&mut transaction, &refresh::hash(token)).await?;
        transaction.commit().await?;
        connection.release();
        Ok(())
    });
    revoked.await
}

async fn store(
    state: &SessionState,
    connection: &mut PgConnection,
    user_id: Uuid,
    family_id: Uuid,
    token: &str,
) -> Result<(), sqlx::Error> {
    let ttl_seconds = state.refresh_token_ttl.as_secs_f64();
    let hash = refresh::hash(token);
    auth_tokens::store(
        connection,
        NewToken {
            hash: &hash,
            family_id,
            user_id,
            ttl_seconds,
        },
    )
    .await
}

fn session(state: &SessionState, user: User, refresh_token: String) -> Result<Session, ApiError> {
    let ttl = state.access_token_ttl;
    let access_token = state.auth.issue(user.id, &user.role, state.clock.now(), ttl)?;
    Ok(Session {
        user,
        access_token,
        refresh_token,
    })
}
