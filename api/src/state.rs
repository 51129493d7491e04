//! The state that all handlers share, and the parts of it that extractors ask for.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use axum::extract::FromRef;
use tokio_util::task::TaskTracker;

use crate::{
    auth::{Authenticator, SessionState},
    chat::ChatState,
    http::{database::Database, extract::BodyLimits, rate_limits::RateLimits},
    live::LiveState,
    metrics::ApiMetrics,
    settings::ApiSettings,
};

/// The state of a running API. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AppState(Arc<Parts>);

/// The parts of [`AppState`].
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: ApiSettings,
    pub(crate) database: Database,
    pub(crate) chat: ChatState,
    pub(crate) live: LiveState,
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) sessions: SessionState,
    pub(crate) rates: Arc<RateLimits>,
    pub(crate) metrics: ApiMetrics,
    /// WebSocket tasks, which outlive the request of their handshake.
    pub(crate) sockets: TaskTracker,
    /// Addresses of proxies whose `X-Forwarded-For` is trusted.
    pub(crate) trusted_proxies: Arc<[IpAddr]>,
}

impl AppState {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<AppState> for Arc<Authenticator> {
    fn from_ref(app: &AppState) -> Self {
        Self::clone(&app.auth)
    }
}

impl FromRef<AppState> for Arc<[IpAddr]> {
    fn from_ref(app: &AppState) -> Self {
        Self::clone(&app.trusted_proxies)
    }
}

impl FromRef<AppState> for BodyLimits {
    fn from_ref(app: &AppState) -> Self {
        Self {
            max_bytes: app.settings.http.http_body_max_bytes,
            timeout: app.settings.http.http_body_timeout_ms,
        }
    }
}
