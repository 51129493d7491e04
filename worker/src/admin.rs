//! The admin listener: is the process alive, is it ready, how is it doing.

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

/// Serves until the worker has ended.
pub(crate) async fn serve(listener: TcpListener, context: Arc<Context>, ended: Lifecycle) {
    let router = Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(tell_metrics))
        .with_state(context);
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { ended.stopped().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin listener failed");
    }
}

/// The process's metrics, for Prometheus.
async fn tell_metrics(State(context): State<Arc<Context>>) -> Response {
    match context.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, Json<Value>) {
    let (status, reason) = match schema::compatibility(&context.claims).await {
        Ok(Compatibility::Compatible) => {
            return (
                StatusCode::OK,
                Json(json!({"status": "ready", "in_flight": context.in_flight.len()})),
            );
        }
        Ok(Compatibility::TooOld { found }) => ("not_ready", format!("the schema has generation {found}")),
        Ok(Compatibility::TooNew { oldest_program }) => (
            "not_ready",
            format!("the schema needs programs of generation {oldest_program}"),
        ),
        Err(_) => ("not_ready", "Postgres does not answer".to_owned()),
    };
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"status": status, "reason": reason})),
    )
}
