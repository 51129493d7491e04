//! Which pages may talk to us where CORS does not ask: over a WebSocket and over MCP.

use axum::http::{HeaderMap, header};

/// Whether a page may connect: one of the same origin, one of the list, or no page at all.
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
    // Whether the page came over TLS is not known behind a proxy.
    let own = ["http://", "https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    own.is_some() && own == host
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_connects_from_its_own_origin_or_from_one_of_the_list() {
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
