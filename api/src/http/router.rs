//! All routes, and what stands before them.

use std::any::Any;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use errand_shared::service::metrics::CONTENT_TYPE;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    http::{error::ApiError, openapi, problem::Problem, rate_limits, request_id},
    mcp, metrics, page, routes,
    settings::HttpSettings,
    state::App,
};

/// The API's router.
pub(crate) fn router(app: &App) -> Router {
    let http = &app.settings.http;
    let api = OpenApiRouter::new()
        .merge(routes::auth::router())
        .merge(routes::chat::router())
        .merge(routes::runs::router())
        .merge(routes::approvals::router())
        .merge(routes::ws::router())
        .merge(routes::conversations::router())
        .merge(routes::messages::router())
        .merge(routes::tasks::router())
        .merge(routes::admin::router())
        .merge(routes::health::router());
    finish(
        openapi::finish(api).merge(page::router()).merge(mcp::router()),
        app,
    )
    // As one, the outermost first: each layer by itself would be a service on the heap and a future on the heap to each request,
    // for as long as it waits.
    .layer((
        middleware::from_fn_with_state(App::clone(app), watched),
        CatchPanicLayer::custom(panicked),
        cors(http),
        DefaultBodyLimit::max(http.http_body_max_bytes as usize),
    ))
}

/// Answers a request, measured, named and logged; the answer tells of the limits that it has met.
fn watched(State(app): State<App>, request: Request, next: Next) -> impl Future<Output = Response> {
    metrics::measure(app, request, |request| {
        request_id::name_and_log(request, |request| rate_limits::tell(next.run(request)))
    })
}

/// The same without what only callers of the API are told, or what is measured of them.
fn logged(request: Request, next: Next) -> impl Future<Output = Response> {
    request_id::name_and_log(request, |request| next.run(request))
}

/// The admin listener's router.
pub(crate) fn admin_router(app: &App) -> Router {
    let (health, _) = routes::health::router().split_for_parts();
    let router = health.route("/metrics", get(tell_metrics));
    finish(router, app).layer(middleware::from_fn(logged))
}

/// The process's metrics, for Prometheus.
async fn tell_metrics(State(app): State<App>) -> Result<Response, ApiError> {
    app.metrics.book.refresh(&app).await;
    let text = app.metrics.text().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn finish(router: Router<App>, app: &App) -> Router {
    router
        .fallback(async || ApiError::NotFound("There is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(App::clone(app))
}

fn cors(http: &HttpSettings) -> CorsLayer {
    let origins: Vec<HeaderValue> = http
        .cors_allowed_origins
        .iter()
        .filter_map(|origin| HeaderValue::try_from(origin).ok())
        .collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("mcp-method"),
            HeaderName::from_static("mcp-name"),
            HeaderName::from_static("mcp-protocol-version"),
            HeaderName::from_static("prefer"),
            HeaderName::from_static("x-request-id"),
        ])
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static("server-timing"),
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(std::time::Duration::from_mins(10))
}

fn panicked(_payload: Box<dyn Any + Send>) -> Response {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "An internal error; it has been logged.",
    )
    .into_response()
}
