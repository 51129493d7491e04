//! The `OpenAPI` 3.1 document, generated from the handlers, and Swagger UI to read it.
//!
//! Swagger UI is embedded in the binary. Its content security policy prevents it from loading anything else.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::Path,
    http::header,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use utoipa::{
    IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        Components, ContentBuilder, Ref, RefOr, ResponseBuilder, Schema,
        response::Response as ResponseDoc,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::Config;

use super::error::{ApiError, Problem};

/// Files of this server, and the images inside the style sheet.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

/// The document without the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Errand",
        description = "A chat agent that manages a to-do list. A message is stored with a run before it is answered. A \
                       worker executes the run. The response to the message waits for the run, or points to it.\n\n\
                       Errors are `application/problem+json` (RFC 9457). Lists return `items` and `next_cursor`, which \
                       is null on the last page. Every response has an `x-request-id`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Accounts and tokens"),
        (name = "chat", description = "Messages to the agent"),
        (name = "runs", description = "The execution of a message"),
        (name = "conversations", description = "Conversations and their messages"),
        (name = "tasks", description = "The to-do list"),
        (name = "admin", description = "All runs, the queue and the workers, for admins"),
        (name = "health", description = "Whether the server is alive and ready"),
    ),
    components(schemas(Problem)),
    modifiers(&Bearer),
)]
struct ApiDoc;

/// Adds the bearer token scheme.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description =
            Some("The `access_token` from `/auth/register`, `/auth/login` or `/auth/refresh`".to_owned());
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Defines sets of error responses for the `responses` of a route. All of them are problems.
macro_rules! refusals {
    ($($(#[$doc:meta])+ $name:ident: [$($status:literal => $description:literal,)+])+) => {$(
        $(#[$doc])+
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
                problems(&[$(($status, $description)),+])
            }
        }
    )+};
}

refusals! {
    /// The errors of every route below `/api/{user_id}`.
    CallerRefusals: [
        "401" => "The token is missing or invalid",
        "403" => "The token belongs to another user",
        "422" => "An id, a parameter or a field of the body is invalid",
        "500" => "An internal error occurred",
        "503" => "The database is unavailable; `Retry-After` says when to try again",
    ]
    /// The errors of every route below `/admin`.
    AdminRefusals: [
        "401" => "The token is missing or invalid",
        "403" => "The token does not belong to an admin",
        "422" => "An id or a parameter is invalid",
        "500" => "An internal error occurred",
        "503" => "The database is unavailable; `Retry-After` says when to try again",
    ]
    /// The errors of every route with a JSON body.
    BodyRefusals: [
        "400" => "The body is not JSON",
        "408" => "The body took too long to arrive",
        "413" => "The body is too large",
        "415" => "The body is not application/json",
    ]
    /// The errors of registering and logging in.
    CredentialRefusals: [
        "404" => "An external identity provider issues the tokens",
        "422" => "A field is invalid",
        "429" => "Too many attempts",
        "500" => "An internal error occurred",
        "503" => "The server is too busy, or the database is unavailable",
    ]
    /// The errors of routes that read a refresh token.
    RefreshTokenRefusals: [
        "403" => "The cookie was sent by a page of another site",
        "422" => "A field is invalid",
        "500" => "An internal error occurred",
        "503" => "The database is unavailable",
    ]
    /// 404 for a run.
    RunNotFound: ["404" => "No such run",]
    /// 404 for a conversation.
    ConversationNotFound: ["404" => "No such conversation",]
    /// 404 for a task.
    TaskNotFound: ["404" => "No such task",]
    /// 404 for a worker.
    WorkerNotFound: ["404" => "No such worker",]
    /// 409 for a retry.
    RunNotRetryable: ["409" => "The run has neither failed nor been cancelled, or is not the last of its conversation",]
}

fn problems(statuses: &[(&str, &str)]) -> BTreeMap<String, RefOr<ResponseDoc>> {
    let problem = |(status, description): &(&str, &str)| {
        let schema = Ref::from_schema_name(Problem::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description(*description)
            .content("application/problem+json", content)
            .build();
        ((*status).to_owned(), RefOr::T(response))
    };
    statuses.iter().map(problem).collect()
}

/// Adds `/openapi.json`, which describes the routes, and `/docs`, which shows it in Swagger UI.
pub(crate) fn with_documentation<S: Clone + Send + Sync + 'static>(router: OpenApiRouter<S>) -> Router<S> {
    let (router, paths) = router.split_for_parts();
    router.merge(documentation(whole_document(paths)))
}

/// The document with its routes. utoipa describes an optional body as nullable, but it is never null.
fn whole_document(paths: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let mut document = ApiDoc::openapi().merge_from(paths);
    let posts = document
        .paths
        .paths
        .values_mut()
        .filter_map(|item| item.post.as_mut());
    let bodies = posts.filter_map(|post| match &mut post.request_body {
        Some(RefOr::T(body)) => Some(body),
        _ => None,
    });
    for content in bodies.flat_map(|body| body.content.values_mut()) {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(either))) = &mut content.schema
        {
            content.schema = std::mem::take(&mut either.items).into_iter().next();
        }
    }
    document
}

fn documentation<S: Clone + Send + Sync + 'static>(document: utoipa::openapi::OpenApi) -> Router<S> {
    let document = Arc::new(document);
    // By default Swagger UI would send the document to a validator on the internet.
    let config = Arc::new(Config::from("../openapi.json").validator_url("none"));
    let index = Arc::clone(&config);
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        // Swagger UI loads its files relative to the trailing slash.
        .route("/docs", get(async || Redirect::permanent("docs/")))
        .route("/docs/", get(async move || page("index.html", index)))
        .route(
            "/docs/{*file}",
            get(async move |Path(file): Path<String>| page(&file, config)),
        )
}

/// A file of Swagger UI.
fn page(file: &str, config: Arc<Config<'static>>) -> Result<Response, ApiError> {
    let Ok(found) = utoipa_swagger_ui::serve(file, config) else {
        return Err(ApiError::internal(std::fmt::Error));
    };
    let found = found.ok_or_else(|| ApiError::NotFound("No such file".to_owned()))?;
    let headers = [
        (header::CONTENT_TYPE, found.content_type),
        (
            header::CONTENT_SECURITY_POLICY,
            CONTENT_SECURITY_POLICY.to_owned(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let encoding = found.gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
    Ok((headers, encoding, found.bytes.into_owned()).into_response())
}

#[cfg(test)]
mod tests;
