//! GroupCommit commit: what arrives while a batch is being written is written together by the next one.
//!
//! There is no timer. A writer that wakes lets every task that is ready go first, once: a lone request is written as good as
//! at once, by itself. Under load, batches grow as long as the disk and Postgres take, so that a hundred requests share one
//! statement, one commit and one flush. When many wait although one batch is under way, as on a slow disk, a second writer
//! helps. Nobody is answered before the commit of their batch. Knows
//! neither what is written nor how.

use std::{fmt, future::Future, io, sync::Arc};

use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use super::is_outage;
use crate::service::{lifecycle::Lifecycle, runtime::drain_ready};

/// Requests that wait for a batch; more wait for a place.
const INBOX: usize = 4096;
/// The part of a full batch that must wait before a second writer helps: batches that are much smaller cost Postgres more
/// than the wait for the one before.
const HELP_AT: usize = 4;

/// One request and whoever waits for its outcome.
struct Entry<I, O> {
    item: I,
    outcome: Outcome<O>,
}

type Outcome<O> = oneshot::Sender<Result<O, sqlx::Error>>;

/// Collects requests for one kind of statement; cheap to clone.
pub struct GroupCommit<I, O> {
    inbox: mpsc::Sender<Entry<I, O>>,
    help: Arc<Help>,
}

/// When the second writer is wanted.
struct Help {
    /// So many requests wait.
    at: usize,
    wanted: Notify,
}

impl<I, O> Clone for GroupCommit<I, O> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            help: Arc::clone(&self.help),
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
    /// A group whose writers run on the lifecycle's tracker until it is stopped and what waits is written.
    ///
    /// `write` writes up to `most` requests with one commit and gives one outcome each, in their order.
    pub fn start<W, F>(most: usize, lifecycle: &Lifecycle, write: W) -> Self
    where
        W: Fn(Arc<[I]>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send + 'static,
    {
        let (inbox, waiting) = mpsc::channel(INBOX);
        let waiting = Arc::new(Mutex::new(waiting));
        let write = Arc::new(write);
        let help = Arc::new(Help {
            at: most.div_ceil(HELP_AT),
            wanted: Notify::new(),
        });
        lifecycle.spawn(write_all(
            Arc::clone(&waiting),
            most,
            Arc::clone(&write),
            lifecycle.clone(),
        ));
        lifecycle.spawn(write_when_many_wait(
            waiting,
            most,
            write,
            Arc::clone(&help),
            lifecycle.clone(),
        ));
        Self { inbox, help }
    }

    /// Writes one request with whatever else waits. A request given up before its batch began is not written.
    ///
    /// # Errors
    /// A fault of Postgres, as for the statement alone; [`sqlx::Error::PoolClosed`] once the lifecycle has stopped.
    pub async fn write(&self, item: I) -> Result<O, sqlx::Error> {
        let (outcome, told) = oneshot::channel();
        self.inbox
            .send(Entry { item, outcome })
            .await
            .map_err(|_ended| sqlx::Error::PoolClosed)?;
        if INBOX - self.inbox.capacity() >= self.help.at {
            self.help.wanted.notify_one();
        }
        told.await.map_err(|_ended| sqlx::Error::PoolClosed)?
    }
}

async fn write_all<I, O, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<Entry<I, O>>>>,
    most: usize,
    write: Arc<W>,
    lifecycle: Lifecycle,
) where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    let mut entries = Vec::with_capacity(most);
    loop {
        {
            let mut waiting = waiting.lock().await;
            tokio::select! {
                received = waiting.recv_many(&mut entries, most) => if received == 0 { return },
                // What came before the stop is still written; nothing comes after it.
                () = lifecycle.stopped(), if !waiting.is_closed() => waiting.close(),
            }
            drain_ready(&mut waiting, &mut entries, most).await;
        }
        write_taken(&mut entries, &*write).await;
    }
}

/// The second writer: takes a batch whenever enough wait for one. What waits at the stop it leaves to the first.
async fn write_when_many_wait<I, O, W, F>(
    waiting: Arc<Mutex<mpsc::Receiver<Entry<I, O>>>>,
    most: usize,
    write: Arc<W>,
    help: Arc<Help>,
    lifecycle: Lifecycle,
) where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    let mut entries = Vec::with_capacity(most);
    loop {
        tokio::select! {
            () = help.wanted.notified() => {}
            () = lifecycle.stopped() => return,
        }
        {
            let mut waiting = waiting.lock().await;
            while entries.len() < most
                && (!entries.is_empty() || waiting.len() >= help.at)
                && let Ok(entry) = waiting.try_recv()
            {
                entries.push(entry);
            }
        }
        write_taken(&mut entries, &*write).await;
    }
}

async fn write_taken<I, O, W, F>(entries: &mut Vec<Entry<I, O>>, write: &W)
where
    I: Clone + Send + Sync,
    O: Send,
    W: Fn(Arc<[I]>) -> F + Send + Sync,
    F: Future<Output = Result<Vec<O>, sqlx::Error>> + Send,
{
    let (items, outcomes): (Vec<_>, Vec<_>) = entries
        .drain(..)
        .filter(|entry| !entry.outcome.is_closed())
        .map(|entry| (entry.item, entry.outcome))
        .unzip();
    write_batch(items.into(), outcomes, write).await;
}

/// Writes a batch; one that Postgres refuses is written again one by one, so that a bad request fails alone.
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
                tell(outcome, Ok(written));
            }
        }
        Err(error) if items.len() == 1 => {
            if let Some(outcome) = outcomes.into_iter().next() {
                tell(outcome, Err(error));
            }
        }
        Err(error @ sqlx::Error::Database(_)) if !is_outage(&error) => {
            tracing::warn!(%error, requests = items.len(), "a batch was refused; writing one by one");
            for (outcome, item) in outcomes.into_iter().zip(&*items) {
                let written = write(Arc::from([item.clone()])).await;
                let written = written.and_then(|mut one| one.pop().ok_or(sqlx::Error::RowNotFound));
                tell(outcome, written);
            }
        }
        Err(error) => {
            for outcome in outcomes {
                tell(outcome, Err(same_outage(&error)));
            }
        }
    }
}

/// The same fault once more, for each of those that it concerns.
fn same_outage(error: &sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::PoolTimedOut => sqlx::Error::PoolTimedOut,
        sqlx::Error::PoolClosed => sqlx::Error::PoolClosed,
        other => io::Error::other(other.to_string()).into(),
    }
}

fn tell<O>(outcome: Outcome<O>, written: Result<O, sqlx::Error>) {
    // Whoever has gone away finds what was written by its id.
    drop(outcome.send(written));
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};
    use tokio::{sync::Semaphore, task::JoinSet};

    use super::*;

    /// A writer that waits for a permit before each batch and answers each number with its batch's size.
    fn sizes(most: usize, lifecycle: &Lifecycle) -> (GroupCommit<u32, usize>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let group = GroupCommit::start(most, lifecycle, move |batch: Arc<[u32]>| {
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

    /// Lets the writers take what waits.
    async fn settle() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_lone_request_is_written_at_once() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        gate.add_permits(1);
        assert_eq!(group.write(1).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_comes_while_a_batch_is_under_way_is_written_together() {
        let (group, gate) = sizes(64, &Lifecycle::new());
        let mut alone = Box::pin(group.write(0));
        assert!(alone.as_mut().now_or_never().is_none());
        settle().await;
        let mut together = Box::pin(join_all((0..10).map(|number| group.write(number))));
        assert!(together.as_mut().now_or_never().is_none());
        gate.add_permits(2);
        assert_eq!(alone.await.unwrap(), 1);
        let sizes: Vec<_> = together.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(sizes, [10; 10]);
    }

    /// A task that is woken by another goes before those that were ready already.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_ready_when_the_first_comes_is_written_with_it() {
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
    async fn when_many_wait_a_second_writer_helps() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        let mut alone = Box::pin(group.write(0));
        assert!(alone.as_mut().now_or_never().is_none());
        settle().await;
        let mut one = Box::pin(group.write(1));
        assert!(one.as_mut().now_or_never().is_none());
        settle().await;
        // Both writers wait for the gate now: the second has taken these.
        let mut second = Box::pin(group.write(2));
        assert!(second.as_mut().now_or_never().is_none());
        settle().await;
        let mut together = Box::pin(join_all((0..10).map(|number| group.write(number))));
        assert!(together.as_mut().now_or_never().is_none());
        gate.add_permits(4);
        assert_eq!(alone.await.unwrap(), 1);
        assert_eq!(one.await.unwrap(), 2, "two of eight are enough for help");
        assert_eq!(second.await.unwrap(), 2);
        let sizes: Vec<_> = together.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(sizes, [8, 8, 8, 8, 8, 8, 8, 8, 2, 2], "at most eight in one");
    }

    #[tokio::test]
    async fn an_outage_is_told_to_all_of_the_batch_and_to_nobody_else() {
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
    async fn a_request_given_up_before_its_batch_is_not_written() {
        let (group, gate) = sizes(8, &Lifecycle::new());
        let mut given_up = Box::pin(group.write(13));
        assert!(given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        gate.add_permits(1);
        assert_eq!(group.write(7).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_waits_at_the_stop_is_written_and_nothing_after_it() {
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
