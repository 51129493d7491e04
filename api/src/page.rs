//! The chat page and the page for admins: the files of the folder `page`, embedded in the program.
//!
//! It knows no user and no route of the API: the pages talk to those like any other client. So anybody may load the page
//! for admins; what it shows needs a token. What the page may load and
//! do stands in its policy: scripts and styles of this server, nothing inline, nothing from anywhere else.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rust_embed::{Embed, EmbeddedFile};

use crate::error::ApiError;

/// `'self'` as a source of connections holds for the WebSocket of the same host and port, too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The page's files.
#[derive(Embed)]
#[folder = "page/"]
struct Files;

/// `/`, `/admin`, and what the two load from below `/page`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route(
            "/admin",
            get(async |headers: HeaderMap| file("admin.html", &headers)),
        )
        .route(
            "/page/{*file}",
            get(async |Path(name): Path<String>, headers: HeaderMap| file(&name, &headers)),
        )
}

/// A file, or word that the browser has it already: it asks each time, since the next version bears the same names.
fn file(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let found = Files::get(name).ok_or_else(|| ApiError::NotFound("The page has no such file".to_owned()))?;
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(found.metadata.sha256_hash()));
    let about = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    if has(headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let kind = [(header::CONTENT_TYPE, content_type(&found))];
    Ok((about, kind, found.data.into_owned()).into_response())
}

fn content_type(file: &EmbeddedFile) -> String {
    let kind = file.metadata.mimetype();
    if kind.starts_with("text/") {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    }
}

/// Whether the browser says that it has the file of this tag.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn every_file_has_a_type_that_a_browser_takes() {
        let known = [
            "text/html; charset=utf-8",
            "text/javascript; charset=utf-8",
            "text/css; charset=utf-8",
            "image/svg+xml",
        ];
        let names: Vec<_> = Files::iter().collect();
        for page in ["index.html", "admin.html"] {
            assert!(names.iter().any(|name| name == page));
        }
        for name in names {
            let response = file(&name, &HeaderMap::new()).unwrap();
            let kind = header_of(&response, header::CONTENT_TYPE);
            assert!(known.contains(&kind), "{name}: {kind}");
            assert_eq!(header_of(&response, header::CONTENT_SECURITY_POLICY), POLICY);
        }
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = file("index.html", &HeaderMap::new()).unwrap();
        let tag = header_of(&first, header::ETAG);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_NONE_MATCH,
            format!("\"other\", W/{tag}").parse().unwrap(),
        );
        assert_eq!(
            file("index.html", &headers).unwrap().status(),
            StatusCode::NOT_MODIFIED
        );
        headers.insert(header::IF_NONE_MATCH, "\"other\"".parse().unwrap());
        assert_eq!(file("index.html", &headers).unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn there_is_no_way_out_of_the_folder() {
        for name in ["../Cargo.toml", "/etc/passwd", "app.js/../../src/lib.rs", ""] {
            assert!(
                matches!(file(name, &HeaderMap::new()), Err(ApiError::NotFound(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_from_elsewhere() {
        for name in ["index.html", "admin.html"] {
            let page = Files::get(name).unwrap();
            let text = std::str::from_utf8(&page.data).unwrap();
            for bad in [
                "http://",
                "https://",
                " style=",
                "<style",
                " onclick",
                "javascript:",
            ] {
                assert!(!text.contains(bad), "{name}: {bad}");
            }
        }
    }
}
