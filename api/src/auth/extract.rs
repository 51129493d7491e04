//! Extracts the caller of a request, and checks that the ids in the path are valid and belong to the caller.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts, RawPathParams, rejection::RawPathParamsRejection},
    http::{HeaderMap, header, request::Parts},
};
use errand_shared::Uuid;

use super::{
    authenticator::Authenticator,
    identity::{Identity, Role},
    tokens,
};
use crate::http::error::{ApiError, FieldError};

/// The caller of a route below `/api/{user_id}`, who is that user. Admins have no access to other users here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user_id: Uuid,
    pub(crate) role: Role,
}

/// The caller of a route below `/admin`, whose token has the role `admin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admin {
    /// The admin. Every change is logged with this id.
    pub(crate) user_id: Uuid,
}

/// The WebSocket subprotocol of this API.
pub(crate) const PROTOCOL: &str = "errand.v1";
/// The prefix of a token among the subprotocols: a browser cannot set the headers of a WebSocket.
const BEARER_PROTOCOL: &str = "bearer.";

/// The caller of a WebSocket, who is the user in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketCaller(pub(crate) Identity);

/// Rejects a request with 404 if an external identity provider issues the tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnTokens;

impl<S> FromRequestParts<S> for Identity
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Arc::<Authenticator>::from_ref(state)
            .verify(bearer(&parts.headers)?)
            .await
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let identity = Identity::from_request_parts(parts, state).await?;
        check_path(parts, identity).await?;
        Ok(Self {
            user_id: identity.user_id,
            role: identity.role,
        })
    }
}

impl<S> FromRequestParts<S> for SocketCaller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token = match protocol_token(&parts.headers) {
            Some(token) if !parts.headers.contains_key(header::AUTHORIZATION) => token,
            _ => bearer(&parts.headers)?,
        };
        let identity = Arc::<Authenticator>::from_ref(state).verify(token).await?;
        check_path(parts, identity).await?;
        Ok(Self(identity))
    }
}

/// Checks that the ids in the path are valid and that its user is the caller.
async fn check_path(parts: &mut Parts, identity: Identity) -> Result<(), ApiError> {
    let params = path_params(parts).await?;
    if path_user(&params)? != identity.user_id {
        return Err(ApiError::Forbidden("Cannot access another user's chat"));
    }
    Ok(())
}

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let identity = Identity::from_request_parts(parts, state).await?;
        if identity.role != Role::Admin {
            return Err(ApiError::Forbidden("This requires the role admin"));
        }
        check_ids(&path_params(parts).await?)?;
        Ok(Self {
            user_id: identity.user_id,
        })
    }
}

impl<S> FromRequestParts<S> for OwnTokens
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if Arc::<Authenticator>::from_ref(state).is_external() {
            Err(tokens::issued_externally())
        } else {
            Ok(Self)
        }
    }
}

/// The token in the `Authorization` header, of which there must be exactly one.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    const REQUIRED: &str = "A bearer token is required.";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(ApiError::Unauthorized(REQUIRED));
    };
    match value.to_str().ok().and_then(|value| value.trim().split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(ApiError::Unauthorized(REQUIRED)),
    }
}

async fn path_params(parts: &mut Parts) -> Result<RawPathParams, ApiError> {
    RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|rejection| match rejection {
            RawPathParamsRejection::InvalidUtf8InPathParam(_) => ApiError::invalid("path", "must be UTF-8"),
            // A route without parameters never gets here.
            other => ApiError::internal(other),
        })
}

/// The token among the offered subprotocols.
fn protocol_token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(BEARER_PROTOCOL))
}

/// The user in the path, after checking all its ids.
fn path_user(params: &RawPathParams) -> Result<Uuid, ApiError> {
    check_ids(params)?.ok_or_else(|| ApiError::Internal("the route's path has no user_id".into()))
}

/// Checks all ids in the path and returns its user, if it has one.
fn check_ids(params: &RawPathParams) -> Result<Option<Uuid>, ApiError> {
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
                errors.push(FieldError::new(name, "must be a positive whole number"));
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
    fn token_follows_bearer_in_a_single_header() {
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
