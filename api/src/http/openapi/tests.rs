//! Tests of the `OpenAPI` document and of Swagger UI.

use std::collections::HashSet;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::routes;

fn document() -> Value {
    let router = OpenApiRouter::new()
        .merge(routes::auth::router())
        .merge(routes::chat::router())
        .merge(routes::runs::router())
        .merge(routes::approvals::router())
        .merge(routes::conversations::router())
        .merge(routes::messages::router())
        .merge(routes::tasks::router())
        .merge(routes::admin::router())
        .merge(routes::health::router());
    serde_json::to_value(whole_document(router.into_openapi())).unwrap()
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap();
            methods
                .iter()
                .map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

async fn get_page(path: &str) -> (StatusCode, Vec<(String, String)>, String) {
    let router: Router = documentation(ApiDoc::openapi());
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, headers, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn document_has_a_version_and_the_bearer_scheme() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Errand");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
}

#[test]
fn every_reference_resolves() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference}"
        );
    }
}

#[test]
fn every_operation_has_a_unique_id_a_summary_and_a_known_tag() {
    let document = document();
    let tags: HashSet<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .collect();
    let mut names = HashSet::new();
    for (name, operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{name}");
        assert!(operation["summary"].is_string(), "{name}");
        let own = operation["tags"].as_array().unwrap();
        assert!(
            !own.is_empty() && own.iter().all(|tag| tags.contains(tag)),
            "{name}"
        );
    }
}

#[test]
fn every_operation_documents_its_path_parameters() {
    for (name, operation) in operations(&document()) {
        let none = Vec::new();
        let given = operation["parameters"].as_array().unwrap_or(&none);
        let given: HashSet<_> = given
            .iter()
            .filter(|one| one["in"] == "path")
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        let asked: HashSet<_> = name
            .split('{')
            .skip(1)
            .filter_map(|part| part.split('}').next())
            .collect();
        assert_eq!(given, asked, "{name}");
    }
}

#[test]
fn every_route_of_a_user_documents_its_errors() {
    let document = document();
    let own: Vec<_> = operations(&document)
        .into_iter()
        .filter(|(name, _)| name.contains("{user_id}"))
        .collect();
    assert!(own.len() >= 13);
    for (name, operation) in own {
        assert_eq!(
            operation["security"][0]["bearer"],
            serde_json::json!([]),
            "{name}"
        );
        let mut statuses = vec!["401", "403", "422", "503"];
        if operation["requestBody"].is_object() {
            statuses.extend(["400", "413", "415"]);
        }
        if name.matches('{').count() > 1 {
            statuses.push("404");
        }
        for status in statuses {
            let content = &operation["responses"][status]["content"]["application/problem+json"];
            assert_eq!(
                content["schema"]["$ref"], "#/components/schemas/Problem",
                "{name} {status}"
            );
        }
    }
}

#[test]
fn every_route_of_admins_documents_its_errors() {
    let document = document();
    let admins: Vec<_> = operations(&document)
        .into_iter()
        .filter(|(name, _)| name.contains(" /admin/"))
        .collect();
    assert_eq!(admins.len(), 10);
    for (name, operation) in admins {
        assert_eq!(
            operation["security"][0]["bearer"],
            serde_json::json!([]),
            "{name}"
        );
        for status in ["401", "403", "422", "503"] {
            let content = &operation["responses"][status]["content"];
            assert!(content["application/problem+json"].is_object(), "{name} {status}");
        }
    }
}

#[tokio::test]
async fn swagger_ui_is_served_with_and_without_the_trailing_slash() {
    let (status, headers, _) = get_page("/docs").await;
    assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
    assert!(headers.contains(&("location".to_owned(), "docs/".to_owned())));
    let (status, headers, body) = get_page("/docs/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers.contains(&("content-type".to_owned(), "text/html".to_owned())));
    assert!(body.contains("swagger-ui"));
    assert_eq!(get_page("/docs/../openapi.json").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn swagger_ui_loads_only_files_of_this_server() {
    let (_, headers, index) = get_page("/docs/").await;
    assert!(headers.contains(&(
        "content-security-policy".to_owned(),
        CONTENT_SECURITY_POLICY.to_owned()
    )));
    let parts: Vec<_> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| {
            index
                .split(attribute)
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
        })
        .collect();
    assert!(parts.len() >= 5, "{index}");
    for part in parts {
        let path = format!("/docs/{}", part.trim_start_matches("./"));
        assert_eq!(get_page(&path).await.0, StatusCode::OK, "{part}");
    }
    let (_, _, settings) = get_page("/docs/swagger-initializer.js").await;
    assert!(settings.contains("\"url\": \"../openapi.json\""), "{settings}");
    assert!(settings.contains("\"validatorUrl\": \"none\""), "{settings}");
    assert!(
        !settings.contains("http") && !index.contains("<script>"),
        "{settings} {index}"
    );
}

#[tokio::test]
async fn document_is_served_and_a_missing_file_is_a_problem() {
    let (status, headers, body) = get_page("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers.contains(&("content-type".to_owned(), "application/json".to_owned())));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["openapi"], "3.1.0");
    let (status, headers, _) = get_page("/docs/nothing.js").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(headers.contains(&("content-type".to_owned(), "application/problem+json".to_owned())));
}

#[test]
fn document_describes_optional_bodies_and_length_limits() {
    let document = document();
    let paths = &document["paths"];
    for path in ["/auth/refresh", "/auth/logout"] {
        let body = &paths[path]["post"]["requestBody"];
        assert_ne!(body["required"], true, "{path}");
        let schema = &body["content"]["application/json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/RefreshBody", "{path}");
    }
    let schema = |operation: &Value, name: &str| {
        let parameters = operation["parameters"].as_array().unwrap();
        let named = parameters.iter().find(|parameter| parameter["name"] == name);
        named.unwrap()["schema"].clone()
    };
    let key = schema(&paths["/api/{user_id}/chat"]["post"], "Idempotency-Key");
    assert_eq!((&key["minLength"], &key["maxLength"]), (&1.into(), &255.into()));
    for (path, name) in [
        ("conversations", "cursor"),
        ("tasks", "cursor"),
        ("conversations/{conversation_id}/messages", "before"),
    ] {
        let get = &paths[format!("/api/{{user_id}}/{path}")]["get"];
        assert_eq!(schema(get, name)["minLength"], 1, "{path}");
    }
}
