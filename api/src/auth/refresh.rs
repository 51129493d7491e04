//! Refresh tokens in requests: 32 random bytes, in the body or in a cookie with the path `/auth`.

use axum::{
    body::HttpBody,
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::http::{
    error::ApiError,
    extract::{BodyLimits, Json},
};

pub(crate) const COOKIE: &str = "errand_refresh";

/// 32 random bytes in base64url.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The SHA-256 of a token, which is stored in its place.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// A refresh token, for clients that do not use the cookie.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RefreshBody {
    /// The refresh token of the last login or refresh. Without it, the cookie is used.
    refresh_token: Option<String>,
}

/// The refresh token of a request. The body takes precedence over the cookie.
#[derive(Debug)]
pub(crate) struct PresentedToken(pub(crate) Option<String>);

impl<S> FromRequest<S> for PresentedToken
where
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let headers = request.headers();
        let cookie = cookie(headers).map(str::to_owned);
        let is_trusted = has_json_type(headers) || is_same_origin(headers);
        let body = if request.body().is_end_stream() {
            RefreshBody::default()
        } else {
            Json::from_request(request, state).await?.0
        };
        match (body.refresh_token, cookie) {
            (Some(token), _) => Ok(Self(Some(token))),
            // In addition to SameSite=Strict: a form of another site can send neither JSON nor our origin.
            (None, Some(_)) if !is_trusted => Err(ApiError::Forbidden(
                "The cookie is only accepted from this server's own page or with application/json",
            )),
            (None, cookie) => Ok(Self(cookie)),
        }
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE && !value.is_empty()).then_some(value))
}

/// Whether the content type is JSON, which a page of another site can only send after a CORS preflight.
fn has_json_type(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(';')
                .next()
                .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
        })
}

/// Whether `Origin` names this host.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    match (
        text(header::ORIGIN).and_then(|origin| origin.split_once("://")),
        text(header::HOST),
    ) {
        (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// The `Set-Cookie` header that sets the cookie to a token for this many seconds, or deletes it.
pub(crate) fn set_cookie(token: Option<(&str, u64)>, secure: bool) -> Result<HeaderValue, ApiError> {
    let (token, seconds) = token.unwrap_or_default();
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={token}; Path=/auth; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::try_from(text).map_err(ApiError::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn cookie_is_found_among_other_cookies() {
        assert_eq!(
            cookie(&headers(&[("cookie", "a=b; errand_refresh=tok; c=d")])),
            Some("tok")
        );
        assert_eq!(
            cookie(&headers(&[(
                "cookie",
                "a=b; errand_refresh=; xerrand_refresh=tok"
            )])),
            None
        );
        assert_eq!(cookie(&headers(&[])), None);
    }

    #[test]
    fn only_pages_of_this_host_have_the_same_origin() {
        let same = |origin| is_same_origin(&headers(&[("host", "errand.example:8080"), ("origin", origin)]));
        assert!(same("https://errand.example:8080"));
        assert!(!same("https://errand.example"));
        assert!(!same("https://evil.example"));
        assert!(!same("null"));
        assert!(!is_same_origin(&headers(&[("host", "errand.example")])));
    }

    #[test]
    fn cookie_is_limited_to_auth_and_hidden_from_scripts() {
        let set = set_cookie(Some(("tok", 60)), true).unwrap();
        assert_eq!(
            set.to_str().unwrap(),
            "errand_refresh=tok; Path=/auth; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        let cleared = set_cookie(None, false).unwrap();
        assert_eq!(
            cleared.to_str().unwrap(),
            "errand_refresh=; Path=/auth; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn tokens_are_long_and_unique() {
        assert_eq!(random_text().len(), 43);
        assert_ne!(random_text(), random_text());
    }
}
