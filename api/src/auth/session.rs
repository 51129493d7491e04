//! What registering, logging in, refreshing and logging out do; the routes only speak HTTP.

use errand_shared::{
    Uuid,
    storage::{
        auth_tokens::{self, NewToken, RefreshOutcome},
        users::{self, User},
    },
};
use sqlx::{Connection, PgConnection};

use super::{Client, refresh, validation::Rules};
use crate::{http::error::ApiError, state::App};

/// What a person shows to get in.
#[derive(Debug)]
pub(crate) struct Credentials<'a> {
    /// The e-mail, if there is one.
    pub(crate) email: Option<&'a str>,
    /// The password, if there is one.
    pub(crate) password: Option<&'a str>,
}

/// A person who is in.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) user: User,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// Makes a user and lets them in.
pub(crate) async fn register(
    app: &App,
    client: Client,
    credentials: Credentials<'_>,
    name: Option<&str>,
) -> Result<Session, ApiError> {
    let mut rules = Rules::default();
    let email = rules.email(credentials.email);
    let password = rules.new_password(credentials.password);
    let name = rules.name(name);
    rules.held()?;
    app.rates.auth(client.address, Some(&email))?;
    let hash = app.auth.passwords().hash(password).await?;
    let refresh_token = refresh::random_text();
    let created = app.database(async {
        let mut connection = app.pool.get().await?;
        let mut transaction = connection.begin().await?;
        let Some(user) =
            users::create(&mut *transaction, Uuid::now_v7(), &email, &name, &hash, "user").await?
        else {
            transaction.rollback().await?;
            connection.release();
            return Ok(None);
        };
        store(app, &mut transaction, user.id, Uuid::now_v7(), &refresh_token).await?;
        transaction.commit().await?;
        connection.release();
        Ok(Some(user))
    });
    match created.await? {
        Some(user) => open(app, user, refresh_token),
        None => Err(ApiError::Conflict("The e-mail is taken.".to_owned())),
    }
}

/// Lets a user in who knows their password.
pub(crate) async fn log_in(
    app: &App,
    client: Client,
    credentials: Credentials<'_>,
) -> Result<Session, ApiError> {
    let mut rules = Rules::default();
    let email = rules.login_email(credentials.email);
    let password = rules.login_password(credentials.password);
    rules.held()?;
    app.rates.auth(client.address, Some(&email))?;
    let (user, hash) = match app.database(users::find_by_email(&app.pool, &email)).await? {
        Some((user, Some(hash))) => (Some(user), Some(hash)),
        _ => (None, None),
    };
    // Also without a user: the time must not tell which e-mails are known.
    let right = app.auth.passwords().is_right(password, hash).await?;
    let Some(user) = user.filter(|_| right) else {
        return Err(ApiError::Unauthorized("The e-mail or the password is wrong."));
    };
    let refresh_token = refresh::random_text();
    let stored = app.database(async {
        let mut connection = app.pool.get().await?;
        let mut transaction = connection.begin().await?;
        auth_tokens::delete_expired(&mut *transaction, user.id).await?;
        store(app, &mut transaction, user.id, Uuid::now_v7(), &refresh_token).await?;
        transaction.commit().await?;
        connection.release();
        Ok(())
    });
    stored.await?;
    open(app, user, refresh_token)
}

/// Trades a refresh token for the next of its family.
pub(crate) async fn refresh(app: &App, token: Option<&str>) -> Result<Session, ApiError> {
    const BAD: ApiError = ApiError::Unauthorized("The refresh token is not valid; log in again.");
    let Some(token) = token else {
        return Err(ApiError::Unauthorized("A refresh token is required."));
    };
    let next = refresh::random_text();
    let traded = app.database(async {
        let mut connection = app.pool.get().await?;
        let mut transaction = connection.begin().await?;
        let user = match auth_tokens::redeem(&mut transaction, &refresh::hash(token)).await? {
            RefreshOutcome::Valid { family_id, user_id } => {
                store(app, &mut transaction, user_id, family_id, &next).await?;
                users::find(&mut *transaction, user_id).await?
            }
            RefreshOutcome::Invalid => None,
        };
        // A bad one too: it may have revoked its family.
        transaction.commit().await?;
        connection.release();
        Ok(user)
    });
    match traded.await? {
        Some(user) => open(app, user, next),
        None => Err(BAD),
    }
}

/// Revokes the family of a refresh token, known or not.
pub(crate) async fn log_out(app: &App, token: &str) -> Result<(), ApiError> {
    let revoked = app.database(async {
        let mut connection = app.pool.get().await?;
        let mut transaction = connection.begin().await?;
        auth_tokens::revoke_family(&mut transaction, &refresh::hash(token)).await?;
        transaction.commit().await?;
        connection.release();
        Ok(())
    });
    revoked.await
}

async fn store(
    app: &App,
    connection: &mut PgConnection,
    user_id: Uuid,
    family_id: Uuid,
    token: &str,
) -> Result<(), sqlx::Error> {
    let ttl_seconds = app.settings.auth.refresh_ttl_seconds.as_secs_f64();
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

fn open(app: &App, user: User, refresh_token: String) -> Result<Session, ApiError> {
    let ttl = app.settings.auth.jwt_ttl_seconds;
    let access_token = app.auth.issue(user.id, &user.role, app.clock.now(), ttl)?;
    Ok(Session {
        user,
        access_token,
        refresh_token,
    })
}
