//! The admin listener: is the process alive, is it ready.

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use errand_shared::{
    db::schema::{self, Compatibility},
    lifecycle::Lifecycle,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::context::Context;

/// Serves until the worker has ended.
pub(crate) async fn serve(listener: TcpListener, context: Arc<Context>, ended: Lifecycle) {
    let router = Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .with_state(context);
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { ended.stopped().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin listener failed");
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
