//! Group commit: requests that arrive while a batch is being written are written together by the next batch.
//!
//! There is no timer. On wake-up a writer yields once so that other ready tasks can enqueue, then writes everything waiting. A
//! single request is written immediately, in a batch of one. Under load, batches grow with the latency of Postgres and the disk,
//! so that a hundred requests share one statement, one commit and one flush. If many requests wait although a batch is
//! being written, for example on a slow disk, the overflow writer writes another batch at the same time. A request gets its
//! outcome after the commit of its batch.
//!
//! This module knows neither the statement nor the requests.

use std::{fmt, future::Future, io, sync::Arc};

use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use super::is_outage;
use crate::service::{lifecycle::Lifecycle, runtime::drain_ready};

/// Maximum number of requests that wait for a batch. Further callers wait before they enqueue.
const QUEUE_SIZE: usize = 4096;
/// The overflow writer starts when this fraction (one in …) of a full batch waits. Much smaller batches would cost Postgres more
/// than waiting for the current batch costs the requests.
const OVERFLOW_FRACTION: usize = 4;

/// A request and the channel to its caller.
struct Request<I, O> {
    item: I,
    outcome: Outcome<O>,
}

type Outcome<O> = oneshot::Sender<Result<O, sqlx::Error>>;

/// Collects requests for one kind of statement. Cheap to clone.
pub struct GroupCommit<I, O> {
    queue: mpsc::Sender<Request<I, O>>,
    overflow: Arc<Overflow>,
}

/// When the overflow writer writes a batch.
struct Overflow {
    /// Minimum number of waiting requests.
    threshold: usize,
    wake: Notify,
}

impl<I, O> Clone for GroupCommit<I, O> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            overflow: Arc::clone(&self.overflow),
        }
    }
}

impl<I, O> fmt::Debug for GroupCommit<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupCommit").finish_non_exhaustive()
    }
}

impl<I, O> GroupCommit<I, O>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    /// Starts the writers. They run on the lifecycle's tracker until it is stopped and all waiting requests are written.
    ///
    /// `write` writes at most `max` requests with one commit and returns one outcome per request, in their order.
    pub fn start<W, F>(max: usize, lifecycle: &Lifecycle, write: W) -> Self
    where
        W: Fn(Arc<[I]>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE_SIZE);
        let waiting = Arc::new(Mutex::new(waiting));
        let write = Arc::new(write);
        let overflow = Arc::new(Overflow {
            threshold: max.div_ceil(OVERFLOW_FRACTION),
            wake: Notify::new(),
        });
        lifecycle.spawn(write_batches(
            Arc::clone(&waiting),
            max,
            Arc::clone(&write),
            lifecycle.clone(),
        ));
        lifecycle.spawn(write_overflow(
            waiting,
            max,
            write,
            Arc::clone(&overflow),
            lifecycle.clone(),
        ));
        Self { queue, overflow }
    }

    /// Writes a request, together with the others that wait. A request whose future is dropped before its batch starts is not
    /// written.
    ///
    /// # Errors
    /// A database error, as if the request were executed alone. [`sqlx::Error::PoolClosed`] once the lifecycle is stopped.
    pub async fn write(&self, item: I) -> Result<O, sqlx::Error> {
        let (outcome, written) = oneshot::channel();
        self.queue
            .send(Request { item, outcome })
            .await
            .map_err(|_ended| sqlx::Error::PoolClosed)?;
        if QUEUE_SIZE - self.queue.capacity() >= self.overflow.threshold {
            self.overflow.wake.notify_one();
        }
        written.await.map_err(|_ended| sqlx::Error::PoolClosed)?
    }
}

async fn write_batches<I, O, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<Request<I, O>>>>,
    max: usize,
    write: Arc<W>,
    lifecycle: Lifecycle,
) where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    let mut requests = Vec::with_capacity(max);
    loop {
        {
            let mut waiting = waiting.lock().await;
            tokio::select! {
                received = waiting.recv_many(&mut requests, max) => if received == 0 { return },
                // Requests that arrived before the stop are still written. Later ones are rejected.
                () = lifecycle.stopped(), if !waiting.is_closed() => waiting.close(),
            }
            drain_ready(&mut waiting, &mut requests, max).await;
        }
        write_taken(&mut requests, &*write).await;
    }
}

/// The overflow writer: writes a batch whenever enough requests wait. At the stop, the main writer writes what remains.
async fn write_overflow<I, O, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<Request<I, O>>>>,
    max: usize,
    write: Arc<W>,
    overflow: Arc<Overflow>,
    lifecycle: Lifecycle,
) where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    let mut requests = Vec::with_capacity(max);
    loop {
        tokio::select! {
            () = overflow.wake.notified() => {}
            () = lifecycle.stopped() => return,
        }
        {
            let mut waiting = waiting.lock().await;
            while requests.len() < max
                && (!requests.is_empty() || waiting.len() >= overflow.threshold)
                && let Ok(request) = waiting.try_recv()
            {
                requests.push(request);
            }
        }
        write_taken(&mut requests, &*write).await;
    }
}

async fn write_taken<I, O, W, F>(requests: &mut Vec<Request<I, O>>, write: &W)
where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    let (items, outcomes): (Vec<_>, Vec<_>) = requests
        .drain(..)
        .filter(|request| !request.outcome.is_closed())
        .map(|request| (request.item, request.outcome))
        .unzip();
    write_batch(items.into(), outcomes, write).await;
}

/// Writes a batch. If Postgres rejects it, writes its requests one by one, so that only the bad request fails.
async fn write_batch<I, O, W, F>(items: Arc<[I]>, outcomes: Vec<Outcome<O>>, write: &W)
where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    if items.is_empty() {
        return;
    }
    match write(Arc::clone(&items)).await {
        Ok(written) => {
            for (outcome, written) in outcomes.into_iter().zip(written) {
                reply(outcome, Ok(written));
            }
        }
        Err(error) if items.len() == 1 => {
            if let Some(outcome) = outcomes.into_iter().next() {
                reply(outcome, Err(error));
            }
        }
        Err(error @ sqlx::Error::Database(_)) if !is_outage(&error) => {
            tracing::warn!(%error, requests = items.len(), "Postgres rejected a batch; writing its requests one by one");
            for (outcome, item) in outcomes.into_iter().zip(&*items) {
                let written = write(Arc::from([item.clone()])).await;
                let written = written.and_then(|mut one| one.pop().ok_or(sqlx::Error::RowNotFound));
                reply(outcome, written);
            }
        }
        Err(error) => {
            for outcome in outcomes {
                reply(outcome, Err(copy_outage(&error)));
            }
        }
    }
}

/// Copies an outage, for each request of the batch.
fn copy_outage(error: &sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::PoolTimedOut => sqlx::Error::PoolTimedOut,
        sqlx::Error::PoolClosed => sqlx::Error::PoolClosed,
        other => io::Error::other(other.to_string()).into(),
    }
}

fn reply<O>(outcome: Outcome<O>, written: Result<O, sqlx::Error>) {
    // The caller may be gone. It can look up the row by its id.
    drop(outcome.send(written));
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};
    use tokio::{sync::Semaphore, task::JoinSet};

    use super::*;

    /// A group whose writers wait for a permit before each batch and return the size of the batch for each number.
    fn sizes(max: usize, lifecycle: &Lifecycle) -> (GroupCommit<u32, usize>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let group = GroupCommit::start(max, lifecycle, move |batch: Arc<[u32]>| {
            let gate = Arc::clone(&opened);
            async move {
                gate.acquire().await.unwrap().forget();
                if batch.contains(&13) {
                    return Err(sqlx::Error::PoolTimedOut);
                }
                Ok(batch.iter().map(|_| batch.len()).collect())
            }
        });
        (group, gate)
    }

    /// Lets the writers take the waiting requests.
    async fn settle() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn single_request_is_written_immediately() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        gate.add_permits(1);
        assert_eq!(group.write(1).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn requests_that_arrive_during_a_batch_are_written_together() {
        let (group, gate) = sizes(64, &Lifecycle::new());
        let mut first = Box::pin(group.write(0));
        assert!(first.as_mut().now_or_never().is_none());
        settle().await;
        let mut together = Box::pin(join_all((0..10).map(|number| group.write(number))));
        assert!(together.as_mut().now_or_never().is_none());
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), 1);
        let sizes: Vec<_> = together.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(sizes, [10; 10]);
    }

    /// Tokio runs a task that was just woken before those that were already ready. Hence the writer's yield.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn ready_tasks_enqueue_before_the_first_batch_is_written() {
        let (group, gate) = sizes(64, &Lifecycle::new());
        gate.add_permits(10);
        let mut outside = JoinSet::new();
        outside.spawn(async move {
            let mut writers = JoinSet::new();
            for number in 0..10 {
                let group = group.clone();
                writers.spawn(async move { group.write(number).await.unwrap() });
            }
            writers.join_all().await
        });
        let sizes = outside.join_all().await.concat();
        assert_eq!(sizes, [10; 10]);
    }

    #[tokio::test]
    async fn overflow_writer_starts_when_many_requests_wait() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        let mut first = Box::pin(group.write(0));
        assert!(first.as_mut().now_or_never().is_none());
        settle().await;
        let mut one = Box::pin(group.write(1));
        assert!(one.as_mut().now_or_never().is_none());
        settle().await;
        // Now both writers wait for a permit: the overflow writer has taken these two.
        let mut second = Box::pin(group.write(2));
        assert!(second.as_mut().now_or_never().is_none());
        settle().await;
        let mut together = Box::pin(join_all((0..10).map(|number| group.write(number))));
        assert!(together.as_mut().now_or_never().is_none());
        gate.add_permits(4);
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!(
            one.await.unwrap(),
            2,
            "two waiting requests of at most eight start the overflow writer"
        );
        assert_eq!(second.await.unwrap(), 2);
        let sizes: Vec<_> = together.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            sizes,
            [8, 8, 8, 8, 8, 8, 8, 8, 2, 2],
            "a batch has at most eight requests"
        );
    }

    #[tokio::test]
    async fn outage_fails_all_requests_of_the_batch_and_no_others() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        let mut together = Box::pin(join_all([7, 13].map(|number| group.write(number))));
        assert!(together.as_mut().now_or_never().is_none());
        gate.add_permits(1);
        for outcome in together.await {
            assert!(matches!(outcome, Err(sqlx::Error::PoolTimedOut)));
        }
        gate.add_permits(1);
        assert_eq!(group.write(7).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn request_dropped_before_its_batch_is_not_written() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        let mut dropped = Box::pin(group.write(13));
        assert!(dropped.as_mut().now_or_never().is_none());
        drop(dropped);
        gate.add_permits(1);
        assert_eq!(group.write(7).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn waiting_requests_are_written_at_the_stop_and_later_ones_are_rejected() {
        let lifecycle = Lifecycle::new();
        let (group, gate) = sizes(1, &lifecycle);
        let mut waiting = Box::pin(join_all((0..5).map(|number| group.write(number))));
        assert!(waiting.as_mut().now_or_never().is_none());
        lifecycle.stop();
        gate.add_permits(5);
        assert!(waiting.await.iter().all(Result::is_ok));
        assert!(lifecycle.drained(std::time::Duration::from_secs(10)).await);
        assert!(matches!(group.write(6).await, Err(sqlx::Error::PoolClosed)));
    }
}
