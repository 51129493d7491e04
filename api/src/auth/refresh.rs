//! Refresh tokens as a request shows them: 32 random bytes, in a body or in a cookie that only `/auth` sees.

use axum::{
    body::HttpBody,
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::{
    http::{error::ApiError, extract::Json},
    state::App,
};

/// The cookie's name.
pub(crate) const COOKIE: &str = "errand_refresh";

/// 32 random bytes as text.
pub(crate) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The refresh token, for callers that keep it themselves.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RefreshBody {
    /// As the last login or refresh gave it; without it the cookie's counts.
    refresh_token: Option<String>,
}

/// The refresh token that a request carries, if any; the body's before the cookie's.
#[derive(Debug)]
pub(crate) struct Carried(pub(crate) Option<String>);

impl FromRequest<App> for Carried {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let headers = request.headers();
        let cookie = cookie(headers).map(str::to_owned);
        let ours = says_json(headers) || is_same_origin(headers);
        let body = if request.body().is_end_stream() {
            RefreshBody::default()
        } else {
            Json::from_request(request, app).await?.0
        };
        match (body.refresh_token, cookie) {
            (Some(token), _) => Ok(Self(Some(token))),
            // Beside SameSite=Strict: no form of another site can send JSON or our origin.
            (None, Some(_)) if !ours => Err(ApiError::Forbidden(
                "The cookie counts only from our own page or with application/json",
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

/// Whether the request says that it is JSON, which a page of another site can't without asking first.
fn says_json(headers: &HeaderMap) -> bool {
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

/// Whether a browser says that the page is of the host it talks to.
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

/// The header that gives the cookie this token, or takes the cookie away.
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
    fn the_cookie_is_found_among_others() {
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
    fn only_the_host_s_own_pages_are_of_the_same_origin() {
        let same = |origin| is_same_origin(&headers(&[("host", "errand.example:8080"), ("origin", origin)]));
        assert!(same("https://errand.example:8080"));
        assert!(!same("https://errand.example"));
        assert!(!same("https://evil.example"));
        assert!(!same("null"));
        assert!(!is_same_origin(&headers(&[("host", "errand.example")])));
    }

    #[test]
    fn a_cookie_is_for_auth_alone_and_not_for_scripts() {
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
    fn tokens_are_long_and_never_the_same() {
        assert_eq!(random_text().len(), 43);
        assert_ne!(random_text(), random_text());
    }
}
