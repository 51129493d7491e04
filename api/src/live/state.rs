//! State shared by event streams and WebSockets.

use std::{ops::Deref, sync::Arc};

use errand_shared::{service::metrics::Gauge, signals::redis_client::RedisClient};

use super::{connection_limit::ConnectionLimit, subscribers::Subscribers};
use crate::{chat::ChatState, settings::LiveSettings};

/// The state of streams and WebSockets. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LiveState(Arc<Parts>);

/// The parts of [`LiveState`].
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: LiveSettings,
    pub(crate) chat: ChatState,
    /// For reading event logs.
    pub(crate) redis: RedisClient,
    pub(crate) subscribers: Subscribers,
    /// The WebSockets of each user.
    pub(crate) connections: ConnectionLimit,
    /// The number of open event streams.
    pub(crate) streams: Gauge,
}

impl LiveState {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for LiveState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
