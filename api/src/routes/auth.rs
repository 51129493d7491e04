//! `/auth`: register, log in, refresh tokens, log out.

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::AppendHeaders,
};
use chrono::{DateTime, Utc};
use errand_shared::{Uuid, storage::users};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{
        Client, Identity, OwnTokens, SessionState,
        refresh::{self, PresentedToken, RefreshBody},
        session::{self, Credentials, Session},
    },
    http::{
        error::{ApiError, Problem},
        extract::Json,
        openapi::{BodyRefusals, CredentialRefusals, RefreshTokenRefusals},
    },
    state::AppState,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh_tokens))
        .routes(routes!(log_out))
        .routes(routes!(me))
}

// The fields are optional so that all missing fields are reported together.

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
struct RegisterBody {
    /// The e-mail address. It must be unique, ignoring case.
    #[schema(value_type = String, required, max_length = 254, pattern = "^[^@\\s]+@[^@\\s]+$", example = "ann@example.com")]
    email: Option<String>,
    /// The password, 8 to 128 characters.
    #[schema(value_type = String, required, min_length = 8, max_length = 128, format = Password)]
    password: Option<String>,
    /// The name of the user.
    #[schema(value_type = String, required, min_length = 1, max_length = 100, example = "Ann")]
    name: Option<String>,
}

/// The credentials of a user.
#[derive(Debug, Deserialize, ToSchema)]
struct LoginBody {
    /// The e-mail address, ignoring case.
    #[schema(value_type = String, required, max_length = 254, example = "ann@example.com")]
    email: Option<String>,
    /// The password.
    #[schema(value_type = String, required, format = Password)]
    password: Option<String>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
struct UserBody {
    /// The id of the user, used in the paths below `/api`.
    id: Uuid,
    /// The e-mail address. Null for a user of an external identity provider.
    email: Option<String>,
    /// The name of the user.
    name: String,
    /// When the user was created.
    created_at: DateTime<Utc>,
}

/// A user with new tokens.
#[derive(Debug, Serialize, ToSchema)]
struct SessionBody {
    /// The user.
    user: UserBody,
    /// The token for the `Authorization` header.
    access_token: String,
    /// The type of the access token.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// The lifetime of the access token in seconds.
    expires_in: u64,
    /// The token to get the next tokens with. It can be used once.
    refresh_token: String,
}

type SessionResponse = (
    AppendHeaders<[(HeaderName, HeaderValue); 2]>,
    axum::Json<SessionBody>,
);

/// Register a user.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", request_body = RegisterBody,
    responses(
        (status = 201, description = "The user was created. The response contains an access token", body = SessionBody),
        (status = 409, description = "The e-mail address is already registered", body = Problem, content_type = "application/problem+json"),
        CredentialRefusals, BodyRefusals,
    )
)]
async fn register(
    _: OwnTokens,
    State(app): State<AppState>,
    client: Client,
    Json(body): Json<RegisterBody>,
) -> Result<(StatusCode, SessionResponse), ApiError> {
    let credentials = Credentials {
        email: body.email.as_deref(),
        password: body.password.as_deref(),
    };
    let session = session::register(&app.sessions, client, credentials, body.name.as_deref()).await?;
    Ok((StatusCode::CREATED, response(&app.sessions, client, session)?))
}

/// Log in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = LoginBody,
    responses(
        (status = 200, description = "The user is logged in. The response contains an access token", body = SessionBody),
        (status = 401, description = "The e-mail address or the password is wrong", body = Problem, content_type = "application/problem+json"),
        CredentialRefusals, BodyRefusals,
    )
)]
async fn log_in(
    _: OwnTokens,
    State(app): State<AppState>,
    client: Client,
    Json(body): Json<LoginBody>,
) -> Result<SessionResponse, ApiError> {
    let credentials = Credentials {
        email: body.email.as_deref(),
        password: body.password.as_deref(),
    };
    let session = session::log_in(&app.sessions, client, credentials).await?;
    response(&app.sessions, client, session)
}

/// Exchange a refresh token for new tokens.
///
/// The token is read from the body or from the cookie. It can be used once: using it again revokes the whole login.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", request_body = Option<RefreshBody>,
    params(("errand_refresh" = Option<String>, Cookie, description = "The refresh token, if the body has none")),
    responses(
        (status = 200, description = "New tokens", body = SessionBody),
        (status = 401, description = "The refresh token is missing or invalid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "An external identity provider issues the tokens", body = Problem, content_type = "application/problem+json"),
        RefreshTokenRefusals, BodyRefusals,
    )
)]
async fn refresh_tokens(
    _: OwnTokens,
    State(app): State<AppState>,
    client: Client,
    PresentedToken(token): PresentedToken,
) -> Result<SessionResponse, ApiError> {
    let session = session::refresh(&app.sessions, token.as_deref()).await?;
    response(&app.sessions, client, session)
}

/// Log out.
///
/// Revokes the refresh tokens of the login. Access tokens remain valid until they expire.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", request_body = Option<RefreshBody>,
    params(("errand_refresh" = Option<String>, Cookie, description = "The refresh token, if the body has none")),
    responses(
        (status = 204, description = "The user is logged out, or was not logged in"),
        RefreshTokenRefusals, BodyRefusals,
    )
)]
async fn log_out(
    State(app): State<AppState>,
    client: Client,
    PresentedToken(token): PresentedToken,
) -> Result<(StatusCode, AppendHeaders<[(HeaderName, HeaderValue); 1]>), ApiError> {
    if let Some(token) = token {
        session::log_out(&app.sessions, &token).await?;
    }
    let cleared = refresh::set_cookie(None, client.secure)?;
    Ok((
        StatusCode::NO_CONTENT,
        AppendHeaders([(header::SET_COOKIE, cleared)]),
    ))
}

/// Get the caller.
#[utoipa::path(
    get, path = "/auth/me", tag = "auth", security(("bearer" = [])),
    responses(
        (status = 200, description = "The caller", body = UserBody),
        (status = 401, description = "The token is missing or invalid", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "An internal error occurred", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn me(identity: Identity, State(app): State<AppState>) -> Result<axum::Json<UserBody>, ApiError> {
    match app
        .database
        .run(users::find(&app.database.pool, identity.user_id))
        .await?
    {
        Some(user) => Ok(axum::Json(user.into())),
        None => Err(ApiError::Unauthorized("The token's user no longer exists.")),
    }
}

fn response(state: &SessionState, client: Client, session: Session) -> Result<SessionResponse, ApiError> {
    let token = (session.refresh_token.as_str(), state.refresh_token_ttl.as_secs());
    let cookie = refresh::set_cookie(Some(token), client.secure)?;
    // RFC 6749, 5.1: tokens must not be cached.
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let body = SessionBody {
        user: session.user.into(),
        access_token: session.access_token,
        token_type: "bearer",
        expires_in: state.access_token_ttl.as_secs(),
        refresh_token: session.refresh_token,
    };
    Ok((AppendHeaders(headers), axum::Json(body)))
}

impl From<users::User> for UserBody {
    fn from(user: users::User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            name: user.name,
            created_at: user.created_at,
        }
    }
}
