//! The origin check for requests that CORS does not cover: WebSockets and MCP.

use axum::http::{HeaderMap, header};

/// Whether the request comes from the same origin, from an allowed origin, or not from a browser.
pub(crate) fn is_allowed(headers: &HeaderMap, origins: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    if origins.iter().any(|allowed| allowed == origin) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    // Behind a proxy it is unknown whether the page was loaded over TLS.
    let origin_host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    origin_host.is_some() && origin_host == host
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_same_origin_and_allowed_origins_may_connect() {
        let list = ["https://app.example".to_owned()];
        let allowed = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("errand.example:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            is_allowed(&headers, &list)
        };
        for good in [
            None,
            Some("http://errand.example:8080"),
            Some("https://errand.example:8080"),
            Some("https://app.example"),
        ] {
            assert!(allowed(good), "{good:?}");
        }
        for bad in [
            "null",
            "",
            "https://evil.example",
            "http://errand.example",
            "http://errand.example:80801",
            "http://app.example",
            "https://app.example.evil.example",
            "file://errand.example:8080",
        ] {
            assert!(!allowed(Some(bad)), "{bad}");
        }
    }
}
