//! State shared by the chat use cases.

use std::{ops::Deref, sync::Arc, time::Duration};

use errand_shared::{
    domain::{agents::Agents, clock::Clock},
    service::{
        lifecycle::Lifecycle,
        metrics::{By, Counter, Histogram},
    },
    signals::notifier::Notifier,
    storage::{
        group_commit::GroupCommit,
        queue::posts::{Post, PostOutcome},
    },
};

use super::{queue_position::QueueEstimator, waiter::Waiter};
use crate::{
    http::{
        database::{Cached, Database},
        rate_limits::RateLimits,
    },
    metrics,
    settings::ChatSettings,
};

/// A count of queued runs is used for this long.
pub(crate) const QUEUE_DEPTH_LIFETIME: Duration = Duration::from_secs(1);

/// The state of the chat use cases. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ChatState(Arc<Parts>);

/// The parts of [`ChatState`].
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: ChatSettings,
    pub(crate) database: Database,
    /// Stores messages, in one commit when several arrive at the same time.
    pub(crate) posts: GroupCommit<Post, PostOutcome>,
    pub(crate) notifier: Notifier,
    pub(crate) waiter: Waiter,
    /// The agents that a new conversation may choose.
    pub(crate) agents: Agents,
    pub(crate) rates: Arc<RateLimits>,
    /// The number of queued runs, counted up to `MAX_QUEUED_RUNS`.
    pub(crate) queue_depth: Cached<i64>,
    pub(crate) queue_estimator: QueueEstimator,
    pub(crate) posts_total: By<metrics::Post, Counter>,
    pub(crate) post_duration: Histogram,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) clock: Clock,
}

impl ChatState {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for ChatState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
