//! The admin listener: health, readiness and metrics.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use errand_shared::{
    service::{lifecycle::Lifecycle, metrics::CONTENT_TYPE},
    storage::schema::{self, Compatibility},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::context::Context;

/// Serves until `ended` stops.
pub(crate) async fn serve(listener: TcpListener, context: Arc<Context>, ended: Lifecycle) {
    let router = Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context);
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { ended.stopped().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin listener failed");
    }
}

async fn metrics(State(context): State<Arc<Context>>) -> Response {
    match context.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be formatted");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, Json<Value>) {
    let (status, reason) = match schema::compatibility(&context.claims).await {
        Ok(Compatibility::Compatible) => {
            return (
                StatusCode::OK,
                Json(json!({"status": "ready", "in_flight": context.active_runs.len()})),
            );
        }
        Ok(Compatibility::TooOld { found }) => {
            ("not_ready", format!("the schema generation {found} is too old"))
        }
        Ok(Compatibility::TooNew { oldest_program }) => (
            "not_ready",
            format!("the schema requires programs of generation {oldest_program} or later"),
        ),
        Err(_) => ("not_ready", "the database does not answer".to_owned()),
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"status": status, "reason": reason})),
    )
}
