//! What handlers take from a request: who calls, and that the path is well formed and theirs.

use axum::{
    extract::{FromRequestParts, RawPathParams, rejection::RawPathParamsRejection},
    http::{HeaderMap, header, request::Parts},
};
use errand_shared::Uuid;

use super::{Identity, Role, tokens};
use crate::{
    http::{error::ApiError, problem::FieldError},
    state::App,
};

/// The caller of a route below `/api/{user_id}`, who is that user. An admin is nobody special there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user.
    pub(crate) user_id: Uuid,
    /// What they may do elsewhere.
    pub(crate) role: Role,
}

/// The caller of a route below `/admin`, whose token says that they are an admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admin {
    /// The admin, for the log.
    pub(crate) user_id: Uuid,
}

/// The subprotocol of our WebSockets.
pub(crate) const PROTOCOL: &str = "errand.v1";
/// What a token is called as a subprotocol: a browser can't set a WebSocket's headers.
const BEARER_PROTOCOL: &str = "bearer.";

/// The caller of a WebSocket, who is the path's user; with the end of their token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketCaller(pub(crate) Identity);

/// A route that only exists while we issue the tokens ourselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnTokens;

impl FromRequestParts<App> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        app.auth.verify(bearer(&parts.headers)?).await
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let identity = Identity::from_request_parts(parts, app).await?;
        check_path(parts, app, identity).await?;
        Ok(Self {
            user_id: identity.user_id,
            role: identity.role,
        })
    }
}

impl FromRequestParts<App> for SocketCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = match protocol_token(&parts.headers) {
            Some(token) if !parts.headers.contains_key(header::AUTHORIZATION) => token,
            _ => bearer(&parts.headers)?,
        };
        let identity = app.auth.verify(token).await?;
        check_path(parts, app, identity).await?;
        Ok(Self(identity))
    }
}

/// Whether the path is well formed and its user is the caller.
async fn check_path(parts: &mut Parts, app: &App, identity: Identity) -> Result<(), ApiError> {
    let params = path_params(parts, app).await?;
    if path_user(&params)? != identity.user_id {
        return Err(ApiError::Forbidden("Cannot access another user's chat"));
    }
    Ok(())
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let identity = Identity::from_request_parts(parts, app).await?;
        if identity.role != Role::Admin {
            return Err(ApiError::Forbidden("Only an admin may do this"));
        }
        well_formed(&path_params(parts, app).await?)?;
        Ok(Self {
            user_id: identity.user_id,
        })
    }
}

impl FromRequestParts<App> for OwnTokens {
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if app.auth.is_outside() {
            Err(tokens::issued_elsewhere())
        } else {
            Ok(Self)
        }
    }
}

/// The token of the one Authorization header.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    const WANTED: &str = "A bearer token is required.";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::Unauthorized(WANTED));
    };
    match value.to_str().ok().and_then(|value| value.trim().split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(ApiError::Unauthorized(WANTED)),
    }
}

async fn path_params(parts: &mut Parts, app: &App) -> Result<RawPathParams, ApiError> {
    RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|rejection| match rejection {
            RawPathParamsRejection::InvalidUtf8InPathParam(_) => ApiError::invalid("path", "must be UTF-8"),
            // A route without parameters has none that could break a rule.
            other => ApiError::internal(other),
        })
}

/// The token among the subprotocols on offer.
fn protocol_token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(BEARER_PROTOCOL))
}

/// The user of a path whose ids are all well formed.
fn path_user(params: &RawPathParams) -> Result<Uuid, ApiError> {
    well_formed(params)?.ok_or_else(|| ApiError::Internal("the route's path has no user_id".into()))
}

/// The user of a path, if one stands in it, whose ids are all well formed.
fn well_formed(params: &RawPathParams) -> Result<Option<Uuid>, ApiError> {
    let mut user_id = None;
    let mut errors = Vec::new();
    for (name, value) in params {
        match name {
            "user_id" | "run_id" | "conversation_id" | "worker_id" => match Uuid::try_parse(value) {
                Ok(id) if name == "user_id" => user_id = Some(id),
                Ok(_) => {}
                Err(_) => errors.push(FieldError::new(name, "must be a UUID")),
            },
            "task_id" if !value.parse::<i64>().is_ok_and(|number| number > 0) => {
                errors.push(FieldError::new(name, "must be a whole number above zero"));
            }
            _ => {}
        }
    }
    if errors.is_empty() {
        Ok(user_id)
    } else {
        Err(ApiError::Invalid(errors))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn token(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn a_token_stands_in_one_header_after_the_word_bearer() {
        for good in ["Bearer tok", "bearer tok", "BEARER  tok "] {
            assert_eq!(token(&[good]).as_deref(), Some("tok"), "{good:?}");
        }
        let bad: [&[&str]; 6] = [
            &[],
            &[""],
            &["tok"],
            &["Bearer"],
            &["Basic tok"],
            &["Bearer tok", "Bearer tok"],
        ];
        for values in bad {
            assert_eq!(token(values), None, "{values:?}");
        }
    }
}
