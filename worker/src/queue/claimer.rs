//! Feeds the queue: takes hints for as many places as are free, claims their runs, passes the leases on.

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

use super::{backend::Claimed, notifications::Hints};
use crate::{context::Context, upkeep::heartbeat::Pulse};

/// The longest wait after a fault.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The one that claims.
pub(crate) struct Feeder {
    context: Arc<Context>,
    hints: Hints,
    places: Arc<Semaphore>,
    out: mpsc::Sender<Claimed>,
    draining: watch::Receiver<bool>,
    good_since: watch::Receiver<Option<Instant>>,
    stop: CancellationToken,
    /// The user after whom the next look in Postgres begins.
    looked_until: Uuid,
}

/// Whether there was a time when nothing could be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    No,
    Yes,
}

impl Feeder {
    /// A feeder that claims for as many places as the settings give.
    pub(crate) fn new(
        context: Arc<Context>,
        redis: RedisClient,
        out: mpsc::Sender<Claimed>,
        pulse: Pulse,
        stop: CancellationToken,
    ) -> Self {
        let places = Arc::new(Semaphore::new(context.settings.worker_concurrency as usize));
        Self {
            context,
            hints: Hints::new(redis),
            places,
            out,
            draining: pulse.draining,
            good_since: pulse.good_since,
            stop,
            looked_until: Uuid::nil(),
        }
    }

    /// Feeds until the worker stops or nobody takes leases any more.
    pub(crate) async fn run(mut self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.may_claim()).await;
        // What waits from before this start need not wait for its bell.
        stop.run_until_cancelled(self.sweep()).await;
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.may_claim()).await {
                None => return,
                // What others have taken the hints of meanwhile need not wait for its bell.
                Some(Waited::Yes) => while self.sweep().await > 0 {},
                Some(Waited::No) => {}
            }
            let Some(permits) = self.free_places().await else {
                return;
            };
            let taken = tokio::select! {
                taken = self.hints.take(permits.len()) => taken,
                // Dropping a pop may drop what it has popped: the bell that is due rings again.
                () = stop.cancelled() => return,
                _ = self.draining.wait_for(|draining| *draining) => continue,
                _ = self.good_since.wait_for(Option::is_none) => continue,
            };
            match taken {
                // A quiet bell may be a lost one.
                Ok(hints) if hints.is_empty() => {
                    drop(permits);
                    while self.sweep().await > 0 {}
                }
                Ok(hints) => {
                    self.context.metrics.hints.inc_by(hints.len() as u64);
                    failpoints::hit(Failpoint::NotificationPopped);
                    self.claim(&hints, permits).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "Redis gives no hints; looking in Postgres");
                    drop(permits);
                    self.without_redis().await;
                }
            }
        }
    }

    /// Waits until this worker is neither drained nor taken for dead: a claim of one that has not beaten could be found by
    /// no rescuer, and of one whose beats are missed would be taken away again.
    async fn may_claim(&mut self) -> Waited {
        let mut waited = Waited::No;
        loop {
            if *self.draining.borrow() || self.good_since.borrow().is_none() {
                waited = Waited::Yes;
            }
            let undrained = self.draining.wait_for(|draining| !draining).await.is_ok();
            let alive = self.good_since.wait_for(Option::is_some).await.is_ok();
            if !(undrained && alive && *self.draining.borrow()) {
                return waited;
            }
        }
    }

    /// All places that are free, at least one, at most a batch. None if the worker stops.
    async fn free_places(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let batch = self.context.settings.worker_claim_batch as usize;
        let first = self
            .stop
            .run_until_cancelled(Arc::clone(&self.places).acquire_owned())
            .await?
            .ok()?;
        let mut permits = vec![first];
        while permits.len() < batch
            && let Ok(permit) = Arc::clone(&self.places).try_acquire_owned()
        {
            permits.push(permit);
        }
        Some(permits)
    }

    /// Claims and passes on; gives how many. Hints that are not claimable are dropped.
    async fn claim(&self, hints: &[ReadyNotice], permits: Vec<OwnedSemaphorePermit>) -> usize {
        let asked = Instant::now();
        let ids: Vec<_> = hints.iter().map(|hint| hint.run_id).collect();
        let leases = match self.claim_batch(&ids).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::warn!(%error, hints = ids.len(), "runs could not be claimed; ringing for them again");
                for hint in hints {
                    self.context.notifier.notify_ready(hint.user_id, hint.run_id);
                }
                self.pause(LONGEST_PAUSE.min(self.context.settings.liveness.rescue_interval_ms))
                    .await;
                return 0;
            }
        };
        let claimed = leases.len();
        let metrics = &self.context.metrics;
        observe(&metrics.claim_duration, asked.elapsed());
        metrics.claims.inc_by(claimed as u64);
        for lease in &leases {
            observe(&metrics.queue_wait, lease.waited());
        }
        if claimed > 0 {
            failpoints::hit(Failpoint::ClaimCommitted);
        }
        for (lease, permit) in leases.into_iter().zip(permits) {
            let flight = self.context.in_flight.enter(&lease, asked);
            if let Err(unsent) = self
                .out
                .send(Claimed {
                    lease,
                    flight,
                    permit,
                })
                .await
            {
                tracing::warn!(run.id = %unsent.0.lease.run_id, "nobody takes the claimed run");
            }
        }
        // What was claimed asks its model before this asks for more.
        yield_now().await;
        claimed
    }

    /// One bad row must not fail its whole batch.
    async fn claim_batch(&self, ids: &[Uuid]) -> Result<Vec<Lease>, sqlx::Error> {
        let Context {
            claims, worker_id, ..
        } = &*self.context;
        let bounds = self.context.claim_bounds();
        match claims::claim(claims, *worker_id, ids, bounds).await {
            Err(sqlx::Error::Database(error)) if ids.len() > 1 => {
                tracing::warn!(%error, "a batch of claims failed; claiming one by one");
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

    /// Until Redis may be asked again: what is ready is found in Postgres, every rescuer interval.
    async fn without_redis(&mut self) {
        let interval = self.context.settings.liveness.rescue_interval_ms;
        let until = Instant::now() + LONGEST_PAUSE;
        while Instant::now() < until && !self.stop.is_cancelled() {
            self.sweep().await;
            self.pause(interval).await;
        }
    }

    /// Looks in Postgres for runs that are ready, and claims them; gives how many.
    async fn sweep(&mut self) -> usize {
        if *self.draining.borrow() {
            return 0;
        }
        let Some(permits) = self.free_places().await else {
            return 0;
        };
        let room = i64::try_from(permits.len()).unwrap_or(i64::MAX);
        let after = self.looked_until;
        let found = match claims::find_ready(&self.context.claims, after, room).await {
            // Once round: who was looked at first may have something by now.
            Ok(found) if found.is_empty() && !after.is_nil() => {
                claims::find_ready(&self.context.claims, Uuid::nil(), room).await
            }
            found => found,
        };
        match found {
            Ok(hints) => {
                // Where there is more than room for, the next look begins with somebody else.
                let last = hints.iter().map(|hint| hint.user_id).max();
                self.looked_until = last.filter(|_| hints.len() >= permits.len()).unwrap_or_default();
                if hints.is_empty() {
                    0
                } else {
                    self.claim(&hints, permits).await
                }
            }
            Err(error) => {
                tracing::warn!(%error, "Postgres could not be asked for runs");
                0
            }
        }
    }

    async fn pause(&self, time: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    }
}
