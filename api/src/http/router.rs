//! The routers of both listeners and their middleware.

use std::{any::Any, sync::Arc};

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

use super::{
    error::{ApiError, Problem},
    openapi, rate_limits, request_id,
};
use crate::{mcp, metrics, page, routes, settings::HttpSettings, state::AppState};

/// The router of the main listener.
pub(crate) fn router(app: &AppState) -> Router {
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
    with_fallbacks(
        openapi::with_documentation(api)
            .merge(page::router())
            .merge(mcp::router()),
        app,
    )
    // One tuple of layers, outermost first. As separate layers, each would add a boxed service and a boxed future to every
    // request for as long as it waits.
    .layer((
        middleware::from_fn_with_state(app.clone(), measure_and_log),
        CatchPanicLayer::custom(panicked),
        cors(http),
        DefaultBodyLimit::max(http.http_body_max_bytes as usize),
    ))
}

/// The router of the admin listener.
pub(crate) fn admin_router(app: &AppState) -> Router {
    let (health, _) = routes::health::router().split_for_parts();
    let router = health.route("/metrics", get(read_metrics));
    with_fallbacks(router, app).layer(middleware::from_fn(log))
}

fn measure_and_log(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> impl Future<Output = Response> {
    metrics::measure(Arc::clone(&app.metrics.http), request, |request| {
        request_id::identify_and_log(request, |request| rate_limits::add_headers(next.run(request)))
    })
}

fn log(request: Request, next: Next) -> impl Future<Output = Response> {
    request_id::identify_and_log(request, |request| next.run(request))
}

async fn read_metrics(State(app): State<AppState>) -> Result<Response, ApiError> {
    app.metrics.database.refresh(&app.database.pool).await;
    let text = app.metrics.text().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn with_fallbacks(router: Router<AppState>, app: &AppState) -> Router {
    router
        .fallback(async || ApiError::NotFound("No such path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(app.clone())
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
        "An internal error occurred and was logged.",
    )
    .into_response()
}
