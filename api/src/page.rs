//! Serves the chat page and the admin page from the folder `page`, which is embedded in the binary.
//!
//! This module has no access to users or data: the pages call the API like any other client. The admin page itself is
//! therefore public, but the data that it shows requires an admin's token. The content security policy allows scripts and
//! styles from this server only, and no inline code.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rust_embed::{Embed, EmbeddedFile};

use crate::http::error::ApiError;

/// For connections, `'self'` includes WebSockets to the same host and port.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(Embed)]
#[folder = "page/"]
struct PageFiles;

/// The routes `/` and `/admin`, and their files below `/page`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| serve("index.html", &headers)))
        .route(
            "/admin",
            get(async |headers: HeaderMap| serve("admin.html", &headers)),
        )
        .route(
            "/page/{*file}",
            get(async |Path(name): Path<String>, headers: HeaderMap| serve(&name, &headers)),
        )
}

/// Returns a file, or 304 if the browser's copy is current. File names do not change between versions, so browsers must
/// revalidate each time.
fn serve(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let file = PageFiles::get(name).ok_or_else(|| ApiError::NotFound("File not found".to_owned()))?;
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let headers_sent = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (
            header::CONTENT_SECURITY_POLICY,
            CONTENT_SECURITY_POLICY.to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    if is_current(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, headers_sent).into_response());
    }
    let content_type = [(header::CONTENT_TYPE, content_type(&file))];
    Ok((headers_sent, content_type, file.data.into_owned()).into_response())
}

fn content_type(file: &EmbeddedFile) -> String {
    let mime_type = file.metadata.mimetype();
    if mime_type.starts_with("text/") {
        format!("{mime_type}; charset=utf-8")
    } else {
        mime_type.to_owned()
    }
}

/// Whether `If-None-Match` contains this tag.
fn is_current(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn every_file_has_a_content_type_and_the_policy() {
        let known = [
            "text/html; charset=utf-8",
            "text/javascript; charset=utf-8",
            "text/css; charset=utf-8",
            "image/svg+xml",
        ];
        let names: Vec<_> = PageFiles::iter().collect();
        for page in ["index.html", "admin.html"] {
            assert!(names.iter().any(|name| name == page));
        }
        for name in names {
            let response = serve(&name, &HeaderMap::new()).unwrap();
            let content_type = header_of(&response, header::CONTENT_TYPE);
            assert!(known.contains(&content_type), "{name}: {content_type}");
            let policy = header_of(&response, header::CONTENT_SECURITY_POLICY);
            assert_eq!(policy, CONTENT_SECURITY_POLICY);
        }
    }

    #[test]
    fn unchanged_file_is_not_sent_again() {
        let first = serve("index.html", &HeaderMap::new()).unwrap();
        let etag = header_of(&first, header::ETAG);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_NONE_MATCH,
            format!("\"other\", W/{etag}").parse().unwrap(),
        );
        assert_eq!(
            serve("index.html", &headers).unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
        headers.insert(header::IF_NONE_MATCH, "\"other\"".parse().unwrap());
        assert_eq!(serve("index.html", &headers).unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn path_outside_the_folder_is_not_found() {
        for name in ["../Cargo.toml", "/etc/passwd", "app.js/../../src/lib.rs", ""] {
            assert!(
                matches!(serve(name, &HeaderMap::new()), Err(ApiError::NotFound(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn pages_have_no_inline_code_and_no_external_urls() {
        for name in ["index.html", "admin.html"] {
            let page = PageFiles::get(name).unwrap();
            let text = std::str::from_utf8(&page.data).unwrap();
            for forbidden in [
                "http://",
                "https://",
                " style=",
                "<style",
                " onclick",
                "javascript:",
            ] {
                assert!(!text.contains(forbidden), "{name}: {forbidden}");
            }
        }
    }
}
