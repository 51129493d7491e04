//! `/auth`: how a person becomes a caller.

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
        Client, Identity, OwnTokens,
        refresh::{self, Carried, RefreshBody},
        session::{self, Credentials, Session},
    },
    http::{error::ApiError, extract::Json, openapi::BodyRefusals, problem::Problem},
    state::App,
};

/// The routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh_tokens))
        .routes(routes!(log_out))
        .routes(routes!(me))
}

// The fields are optional so that all that are missing are told at once, not only the first.

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
struct RegisterBody {
    /// One that nobody has here, whatever its case.
    #[schema(value_type = String, required, max_length = 254, pattern = "^[^@\\s]+@[^@\\s]+$", example = "ann@example.com")]
    email: Option<String>,
    /// 8 to 128 characters.
    #[schema(value_type = String, required, min_length = 8, max_length = 128, format = Password)]
    password: Option<String>,
    /// What they are called.
    #[schema(value_type = String, required, min_length = 1, max_length = 100, example = "Ann")]
    name: Option<String>,
}

/// A user who was here before.
#[derive(Debug, Deserialize, ToSchema)]
struct LoginBody {
    /// As they registered, whatever its case.
    #[schema(value_type = String, required, max_length = 254, example = "ann@example.com")]
    email: Option<String>,
    /// As they registered.
    #[schema(value_type = String, required, format = Password)]
    password: Option<String>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
struct UserBody {
    /// The id, which stands in the paths below `/api`.
    id: Uuid,
    /// The e-mail; none if an outside identity provider vouches for them.
    email: Option<String>,
    /// What they are called.
    name: String,
    /// Since when.
    created_at: DateTime<Utc>,
}

/// A user and their tokens.
#[derive(Debug, Serialize, ToSchema)]
struct SessionBody {
    /// The user.
    user: UserBody,
    /// For the Authorization header.
    access_token: String,
    /// How to use it.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: u64,
    /// Good once, for the next pair of tokens.
    refresh_token: String,
}

type SessionResponse = (
    AppendHeaders<[(HeaderName, HeaderValue); 2]>,
    axum::Json<SessionBody>,
);

/// Register.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", request_body = RegisterBody,
    responses(
        (status = 201, description = "The user is made and is in", body = SessionBody),
        (status = 404, description = "An outside identity provider issues the tokens", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The e-mail is taken", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Members that break a rule", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many attempts", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too busy, or the database is away", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
    )
)]
async fn register(
    _: OwnTokens,
    State(app): State<App>,
    client: Client,
    Json(body): Json<RegisterBody>,
) -> Result<(StatusCode, SessionResponse), ApiError> {
    let credentials = Credentials {
        email: body.email.as_deref(),
        password: body.password.as_deref(),
    };
    let session = session::register(&app, client, credentials, body.name.as_deref()).await?;
    Ok((StatusCode::CREATED, answer(&app, client, session)?))
}

/// Log in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = LoginBody,
    responses(
        (status = 200, description = "They are in", body = SessionBody),
        (status = 401, description = "The e-mail or the password is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "An outside identity provider issues the tokens", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Members that break a rule", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many attempts", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too busy, or the database is away", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
    )
)]
async fn log_in(
    _: OwnTokens,
    State(app): State<App>,
    client: Client,
    Json(body): Json<LoginBody>,
) -> Result<SessionResponse, ApiError> {
    let credentials = Credentials {
        email: body.email.as_deref(),
        password: body.password.as_deref(),
    };
    let session = session::log_in(&app, client, credentials).await?;
    answer(&app, client, session)
}

/// Trade a refresh token for new tokens.
///
/// The token comes in the body or in the cookie. It is good once: a second use ends the login it comes from.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", request_body = Option<RefreshBody>,
    params(("errand_refresh" = Option<String>, Cookie, description = "The refresh token, if the body has none")),
    responses(
        (status = 200, description = "New tokens", body = SessionBody),
        (status = 401, description = "No refresh token, or a bad one", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The cookie from a page of another site", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "An outside identity provider issues the tokens", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Members that break a rule", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
    )
)]
async fn refresh_tokens(
    _: OwnTokens,
    State(app): State<App>,
    client: Client,
    Carried(token): Carried,
) -> Result<SessionResponse, ApiError> {
    let session = session::refresh(&app, token.as_deref()).await?;
    answer(&app, client, session)
}

/// Log out: the login's refresh tokens are good no more.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", request_body = Option<RefreshBody>,
    params(("errand_refresh" = Option<String>, Cookie, description = "The refresh token, if the body has none")),
    responses(
        (status = 204, description = "They are out, whether or not they were in"),
        (status = 403, description = "The cookie from a page of another site", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Members that break a rule", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
        BodyRefusals,
    )
)]
async fn log_out(
    State(app): State<App>,
    client: Client,
    Carried(token): Carried,
) -> Result<(StatusCode, AppendHeaders<[(HeaderName, HeaderValue); 1]>), ApiError> {
    if let Some(token) = token {
        session::log_out(&app, &token).await?;
    }
    let cleared = refresh::set_cookie(None, client.secure)?;
    Ok((
        StatusCode::NO_CONTENT,
        AppendHeaders([(header::SET_COOKIE, cleared)]),
    ))
}

/// Who am I.
#[utoipa::path(
    get, path = "/auth/me", tag = "auth", security(("bearer" = [])),
    responses(
        (status = 200, description = "The caller", body = UserBody),
        (status = 401, description = "No token, or a bad one", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the server", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn me(identity: Identity, State(app): State<App>) -> Result<axum::Json<UserBody>, ApiError> {
    match app.database(users::find(&app.pool, identity.user_id)).await? {
        Some(user) => Ok(axum::Json(user.into())),
        None => Err(ApiError::Unauthorized("The token's user no longer exists.")),
    }
}

fn answer(app: &App, client: Client, session: Session) -> Result<SessionResponse, ApiError> {
    let settings = &app.settings.auth;
    let token = (
        session.refresh_token.as_str(),
        settings.refresh_ttl_seconds.as_secs(),
    );
    let cookie = refresh::set_cookie(Some(token), client.secure)?;
    // RFC 6749, 5.1: no cache may keep tokens.
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let body = SessionBody {
        user: session.user.into(),
        access_token: session.access_token,
        token_type: "bearer",
        expires_in: settings.jwt_ttl_seconds.as_secs(),
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
