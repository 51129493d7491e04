//! Claims runs: receives as many notifications as this worker has free slots, claims their runs and hands them to the backend.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    Uuid,
    service::{
        failpoints::{self, Failpoint},
        metrics::observe,
    },
    signals::{redis_client::RedisClient, wire::ReadyNotice},
    storage::queue::claims::{self, Lease},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::yield_now,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{backend::ClaimedRun, notifications::Notifications};
use crate::{context::Context, upkeep::liveness::Liveness};

/// The longest wait after an error.
const MAX_PAUSE: Duration = Duration::from_secs(2);

pub(crate) struct Claimer {
    context: Arc<Context>,
    notifications: Notifications,
    slots: Arc<Semaphore>,
    out: mpsc::Sender<ClaimedRun>,
    draining: watch::Receiver<bool>,
    alive_since: watch::Receiver<Option<Instant>>,
    stop: CancellationToken,
    /// The next query for ready runs starts after this user.
    polled_until: Uuid,
}

/// Whether this worker was not allowed to claim for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    No,
    Yes,
}

impl Claimer {
    pub(crate) fn new(
        context: Arc<Context>,
        redis: RedisClient,
        out: mpsc::Sender<ClaimedRun>,
        liveness: Liveness,
        stop: CancellationToken,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(context.settings.worker_concurrency as usize));
        Self {
            context,
            notifications: Notifications::new(redis),
            slots,
            out,
            draining: liveness.draining,
            alive_since: liveness.alive_since,
            stop,
            polled_until: Uuid::nil(),
        }
    }

    /// Claims until the worker stops.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.may_claim()).await;
        // Runs that were enqueued before this worker started are claimed now, not at their next notification.
        stop.run_until_cancelled(self.poll_database()).await;
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.may_claim()).await {
                None => return,
                // Other workers may have received notifications that this worker would have needed.
                Some(Waited::Yes) => while self.poll_database().await > 0 {},
                Some(Waited::No) => {}
            }
            let Some(permits) = self.free_slots().await else {
                return;
            };
            let taken = tokio::select! {
                taken = self.notifications.take(permits.len()) => taken,
                // Dropping a pop may lose what it has popped. The rescuer notifies again.
                () = stop.cancelled() => return,
                _ = self.draining.wait_for(|draining| *draining) => continue,
                _ = self.alive_since.wait_for(Option::is_none) => continue,
            };
            match taken {
                // No notification arrived. Some may have been lost.
                Ok(notices) if notices.is_empty() => {
                    drop(permits);
                    while self.poll_database().await > 0 {}
                }
                Ok(notices) => {
                    self.context
                        .metrics
                        .notifications_received
                        .inc_by(notices.len() as u64);
                    failpoints::hit(Failpoint::NotificationPopped);
                    self.claim(&notices, permits).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "notifications can't be received from Redis; polling the database");
                    drop(permits);
                    self.without_redis().await;
                }
            }
        }
    }

    /// Waits until this worker is not drained and its heartbeat is recent. No rescuer could find the claims of a worker without any
    /// heartbeat, and rescuers would take away the claims of one whose heartbeats are missing.
    async fn may_claim(&mut self) -> Waited {
        let mut waited = Waited::No;
        loop {
            if *self.draining.borrow() || self.alive_since.borrow().is_none() {
                waited = Waited::Yes;
            }
            let undrained = self.draining.wait_for(|draining| !draining).await.is_ok();
            let alive = self.alive_since.wait_for(Option::is_some).await.is_ok();
            if !(undrained && alive && *self.draining.borrow()) {
                return waited;
            }
        }
    }

    /// Waits for a free slot. Takes all that are free, at most a batch. Returns `None` if the worker stops.
    async fn free_slots(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let batch = self.context.settings.worker_claim_batch as usize;
        let first = self
            .stop
            .run_until_cancelled(Arc::clone(&self.slots).acquire_owned())
            .await?
            .ok()?;
        let mut permits = vec![first];
        while permits.len() < batch
            && let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned()
        {
            permits.push(permit);
        }
        Some(permits)
    }

    /// Claims runs and hands them to the backend. Returns how many were claimed. Notifications of runs that are not ready are dropped.
    async fn claim(&self, notices: &[ReadyNotice], permits: Vec<OwnedSemaphorePermit>) -> usize {
        let started = Instant::now();
        let ids: Vec<_> = notices.iter().map(|notice| notice.run_id).collect();
        let leases = match self.claim_batch(&ids).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(%error, runs = ids.len(), "runs could not be claimed; notifying again");
                for notice in notices {
                    self.context.notifier.notify_ready(notice.user_id, notice.run_id);
                }
                self.pause(MAX_PAUSE.min(self.context.settings.liveness.rescue_interval_ms))
                    .await;
                return 0;
            }
        };
        let claimed = leases.len();
        let metrics = &self.context.metrics;
        observe(&metrics.claim_duration, started.elapsed());
        metrics.claims.inc_by(claimed as u64);
        for lease in &leases {
            observe(&metrics.queue_wait, lease.waited());
        }
        if claimed > 0 {
            failpoints::hit(Failpoint::ClaimCommitted);
        }
        for (lease, permit) in leases.into_iter().zip(permits) {
            let active_run = self.context.active_runs.add(&lease, started);
            if let Err(unsent) = self
                .out
                .send(ClaimedRun {
                    lease,
                    active_run,
                    permit,
                })
                .await
            {
                tracing::warn!(run.id = %unsent.0.lease.run_id, "claimed run dropped: the backend is shutting down");
            }
        }
        // Lets the claimed runs call their models before more runs are claimed.
        yield_now().await;
        claimed
    }

    /// Claims a batch. If the database rejects it, claims one by one: one bad row must not block the others.
    async fn claim_batch(&self, ids: &[Uuid]) -> Result<Vec<Lease>, sqlx::Error> {
        let Context {
            claims, worker_id, ..
        } = &*self.context;
        let bounds = self.context.claim_bounds();
        match claims::claim(claims, *worker_id, ids, bounds).await {
            Err(sqlx::Error::Database(error)) if ids.len() > 1 => {
                tracing::warn!(%error, "a batch of claims was rejected; claiming one by one");
                let mut leases = Vec::with_capacity(ids.len());
                for id in ids {
                    match claims::claim(claims, *worker_id, std::slice::from_ref(id), bounds).await {
                        Ok(claimed) => leases.extend(claimed),
                        Err(error) => tracing::warn!(run.id = %id, %error, "the run could not be claimed"),
                    }
                }
                Ok(leases)
            }
            claimed => claimed,
        }
    }

    /// Polls the database at the rescuer's interval for a while, until Redis is tried again.
    async fn without_redis(&mut self) {
        let interval = self.context.settings.liveness.rescue_interval_ms;
        let until = Instant::now() + MAX_PAUSE;
        while Instant::now() < until && !self.stop.is_cancelled() {
            self.poll_database().await;
            self.pause(interval).await;
        }
    }

    /// Queries the database for ready runs and claims them. Returns how many were claimed.
    async fn poll_database(&mut self) -> usize {
        if *self.draining.borrow() {
            return 0;
        }
        let Some(permits) = self.free_slots().await else {
            return 0;
        };
        let max = i64::try_from(permits.len()).unwrap_or(i64::MAX);
        let after = self.polled_until;
        let found = match claims::find_ready(&self.context.claims, after, max).await {
            // All users have had their turn: start again with the first.
            Ok(found) if found.is_empty() && !after.is_nil() => {
                claims::find_ready(&self.context.claims, Uuid::nil(), max).await
            }
            found => found,
        };
        match found {
            Ok(notices) => {
                // If there are more ready runs than free slots, the next query starts with another user.
                let last = notices.iter().map(|notice| notice.user_id).max();
                self.polled_until = last
                    .filter(|_| notices.len() >= permits.len())
                    .unwrap_or_default();
                if notices.is_empty() {
                    0
                } else {
                    self.claim(&notices, permits).await
                }
            }
            Err(error) => {
                tracing::warn!(%error, "ready runs could not be queried");
                0
            }
        }
    }

    async fn pause(&self, time: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    }
}
