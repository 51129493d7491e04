//! The document of the API by `OpenAPI` 3.1, gathered from the handlers themselves, and a page that shows it.
//!
//! The page comes with the program: it loads nothing from anywhere else, and its policy holds it to that.

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

use crate::{
    http::{error::ApiError, problem::Problem},
    state::App,
};

/// What the page may load: what this server gives, and the small pictures inside its style sheet.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

/// The document before the routes are in it.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Errand",
        description = "A chat agent that keeps a to-do list. A message is stored before it is answered; a worker runs \
                       the agent; the answer comes with the request that waits for it, or is found under its run.\n\n\
                       Errors are `application/problem+json` (RFC 9457). Lists answer `items` and `next_cursor`, which \
                       is null at the end. Every response carries `x-request-id`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Accounts and tokens"),
        (name = "chat", description = "Messages to the agent"),
        (name = "runs", description = "What a message has started"),
        (name = "conversations", description = "Conversations and what was said in them"),
        (name = "tasks", description = "The to-do list itself"),
        (name = "admin", description = "All runs, the queue and the workers, for admins"),
        (name = "health", description = "Whether the server is alive and ready"),
    ),
    components(schemas(Problem)),
    modifiers(&Bearer),
)]
struct ApiDoc;

/// How callers say who they are.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description =
            Some("`access_token` of `/auth/register`, `/auth/login` or `/auth/refresh`".to_owned());
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The problems that any route below `/api/{user_id}` may answer with, for its documentation.
pub(crate) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        problems(&[
            ("401", "No token, or a bad one"),
            ("403", "The token is another user's"),
            ("422", "An id, a parameter or a member of the body breaks a rule"),
            ("500", "A fault of the server"),
            (
                "503",
                "The database is away; `Retry-After` says when to try again",
            ),
        ])
    }
}

/// The problems that any route below `/admin` may answer with.
pub(crate) struct AdminRefusals;

impl IntoResponses for AdminRefusals {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        problems(&[
            ("401", "No token, or a bad one"),
            ("403", "The token is not an admin's"),
            ("422", "An id or a parameter breaks a rule"),
            ("500", "A fault of the server"),
            (
                "503",
                "The database is away; `Retry-After` says when to try again",
            ),
        ])
    }
}

/// The problems of routes that take a JSON body, beside [`Refusals`].
pub(crate) struct BodyRefusals;

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        problems(&[
            ("400", "The body is not JSON"),
            ("408", "The body took too long to arrive"),
            ("413", "The body is too large"),
            ("415", "The body is not application/json"),
        ])
    }
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

/// The router of all routes, with `/openapi.json`, which describes them, and `/docs`, which shows that.
pub(crate) fn finish(router: OpenApiRouter<App>) -> Router<App> {
    let (router, paths) = router.split_for_parts();
    router.merge(documentation(gather(paths)))
}

/// The whole document. A body that may be left out is described as what it is when it is there: it is never null.
fn gather(paths: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
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
    // The page is told nothing but its own server: by default it would ask one on the internet about the document.
    let config = Arc::new(Config::from("../openapi.json").validator_url("none"));
    let index = Arc::clone(&config);
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        // The page names its parts relative to the slash.
        .route("/docs", get(async || Redirect::permanent("docs/")))
        .route("/docs/", get(async move || page("index.html", index)))
        .route(
            "/docs/{*file}",
            get(async move |Path(file): Path<String>| page(&file, config)),
        )
}

/// A file of the page.
fn page(file: &str, config: Arc<Config<'static>>) -> Result<Response, ApiError> {
    let Ok(found) = utoipa_swagger_ui::serve(file, config) else {
        return Err(ApiError::internal(std::fmt::Error));
    };
    let found = found.ok_or_else(|| ApiError::NotFound("The page has no such file".to_owned()))?;
    let headers = [
        (header::CONTENT_TYPE, found.content_type),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let encoding = found.gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
    Ok((headers, encoding, found.bytes.into_owned()).into_response())
}

#[cfg(test)]
mod tests;
