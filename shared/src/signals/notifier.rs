//! Sends notifications, run events and worker commands to Redis, in batches and outside the path of requests and runs.
//!
//! Nothing depends on their arrival: the rescuer repeats a lost notification, and a lost answer is read from the run's row.
//! So a full buffer or an unavailable Redis causes a delay, and is counted.

mod pipeline;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::pipeline::Sender;
use super::{
    delivery::DeliveryState,
    event_log::{self, Mode},
    redis_client::RedisClient,
    run_finished,
    wire::{AwaitingApproval, ReadyNotice, WorkerCommand},
};
use crate::{
    domain::events::{Event, EventData, RunEnd, queued_seq},
    service::{
        failpoints::{self, Failpoint},
        lifecycle::Lifecycle,
        runtime::drain_ready,
    },
    storage::runs::QueuedRun,
};

/// Messages buffered while Redis does not answer. Further ones are dropped.
const BUFFER: usize = 65_536;
/// The maximum number of messages in one pipeline.
const BATCH: usize = 1024;

/// One message to send.
#[derive(Debug)]
enum Notice {
    /// Notifies the workers.
    Ready(ReadyNotice),
    /// Publishes a finished run and closes its event log with the number of the final event.
    Finished {
        run_id: Uuid,
        seq: i64,
        payload: Vec<u8>,
    },
    /// Appends an event to the run's log and publishes it.
    Event {
        mode: Mode,
        user_id: Uuid,
        run_id: Uuid,
        seq: i64,
        /// As [`event_log::encode`] returns it.
        payload: Vec<u8>,
        delivery: Option<Arc<DeliveryState>>,
    },
    /// Publishes an event without logging it, because any reader can build it from the run's row.
    Publish {
        user_id: Uuid,
        payload: Vec<u8>,
    },
    AwaitingApproval(AwaitingApproval),
    Command(WorkerCommand),
}

impl Notice {
    /// Whether a caller or a run waits for its effect.
    const fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::Ready(_) | Self::Finished { .. } | Self::AwaitingApproval(_)
        )
    }
}

/// The lease under which a run's events are published.
#[derive(Clone, Debug)]
pub struct EventSource {
    /// The user of the run.
    pub user_id: Uuid,
    /// Where the notifier reports what happened to the events.
    pub delivery: Arc<DeliveryState>,
}

/// Handle to the sender; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier {
    notices: mpsc::Sender<Notice>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
}

impl Notifier {
    /// Starts the sender on the lifecycle's tracker. It runs until [`Self::close`].
    pub fn start(redis: RedisClient, lifecycle: &Lifecycle) -> Self {
        let (notices, inbox) = mpsc::channel(BUFFER);
        let notifier = Self {
            notices,
            lost: Arc::default(),
            closing: CancellationToken::new(),
        };
        lifecycle.spawn(send_all(
            Sender::new(redis),
            inbox,
            Arc::clone(&notifier.lost),
            notifier.closing.clone(),
        ));
        notifier
    }

    /// Notifies the workers that a run of this user can be claimed.
    pub fn notify_ready(&self, user_id: Uuid, run_id: Uuid) {
        self.put(Notice::Ready(ReadyNotice { user_id, run_id }));
    }

    /// Publishes a finished run to every API instance. Call it only after the commit.
    pub fn publish_run_finished(&self, end: &RunEnd) {
        match run_finished::encode(end) {
            Ok(payload) => self.put(Notice::Finished {
                run_id: end.response.run_id,
                seq: end.seq,
                payload,
            }),
            Err(error) => {
                tracing::error!(%error, run.id = %end.response.run_id, "the answer could not be encoded");
            }
        }
    }

    /// Publishes the `run.queued` event of a new message. Call it only after the commit.
    pub fn publish_posted(&self, user_id: Uuid, run_id: Uuid, conversation_id: Uuid, at: DateTime<Utc>) {
        let seq = queued_seq(0);
        let event = Event {
            seq,
            run_id,
            conversation_id,
            attempt: 0,
            at,
            data: EventData::Queued {},
        };
        if let Some(payload) = encode(user_id, &event) {
            self.put(Notice::Publish { user_id, payload });
        }
    }

    /// Publishes that a run is queued again, which fences the event log against its last holder. Call it only after the
    /// commit.
    pub fn publish_queued(&self, run: &QueuedRun, at: DateTime<Utc>) {
        let event = Event {
            seq: queued_seq(run.epoch),
            run_id: run.run_id,
            conversation_id: run.conversation_id,
            attempt: run.attempt,
            at,
            data: EventData::Queued {},
        };
        self.append(Mode::Begin, run.user_id, &event, None);
    }

    /// Publishes an event of a run under its lease. With `begin`, the event log is created if it does not exist; without,
    /// the event is dropped in that case and [`DeliveryState::take_log_missing`] returns true.
    pub fn publish(&self, source: &EventSource, event: &Event<'_>, begin: bool) {
        let mode = if begin { Mode::Begin } else { Mode::Append };
        self.append(mode, source.user_id, event, Some(Arc::clone(&source.delivery)));
    }

    /// Publishes to every API instance that a run waits for approval. Call it only after the commit.
    pub fn publish_awaiting_approval(&self, waiting: AwaitingApproval) {
        self.put(Notice::AwaitingApproval(waiting));
    }

    /// Sends a command to all workers.
    pub fn send_command(&self, command: WorkerCommand) {
        self.put(Notice::Command(command));
    }

    /// The number of messages lost because the buffer was full or Redis failed.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The number of messages not sent yet.
    pub fn waiting(&self) -> usize {
        self.notices.max_capacity() - self.notices.capacity()
    }

    /// Sends what is buffered, then ends the sender.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn append(&self, mode: Mode, user_id: Uuid, event: &Event<'_>, delivery: Option<Arc<DeliveryState>>) {
        if let Some(payload) = encode(user_id, event) {
            self.put(Notice::Event {
                mode,
                user_id,
                run_id: event.run_id,
                seq: event.seq,
                payload,
                delivery,
            });
        }
    }

    fn put(&self, notice: Notice) {
        if let Err(unsent) = self.notices.try_send(notice) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            pipeline::mark_lost(&unsent.into_inner());
        }
    }
}

fn encode(user_id: Uuid, event: &Event<'_>) -> Option<Vec<u8>> {
    match event_log::encode(user_id, event) {
        Ok(payload) => Some(payload),
        Err(error) => {
            tracing::error!(%error, run.id = %event.run_id, "an event could not be encoded");
            None
        }
    }
}

async fn send_all(
    sender: Sender,
    mut inbox: mpsc::Receiver<Notice>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut healthy = true;
    loop {
        let received = tokio::select! {
            received = inbox.recv_many(&mut batch, BATCH) => received,
            () = closing.cancelled() => {
                inbox.close();
                inbox.recv_many(&mut batch, BATCH).await
            }
        };
        if received == 0 {
            return;
        }
        drain_ready(&mut inbox, &mut batch, BATCH).await;
        if !batch.iter().any(Notice::is_urgent) {
            // Events can wait for one more round of the scheduler: a run that has just published one may be about to write
            // its step, which comes first.
            drain_ready(&mut inbox, &mut batch, BATCH).await;
        }
        match sender.send(&batch).await {
            Ok(()) => {
                if batch
                    .iter()
                    .any(|notice| matches!(notice, Notice::Finished { .. }))
                {
                    failpoints::hit(Failpoint::RunFinishedSent);
                }
                if !healthy {
                    tracing::info!("Redis is available again");
                }
                healthy = true;
            }
            Err(error) => {
                lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                batch.iter().for_each(pipeline::mark_lost);
                if healthy {
                    tracing::warn!(%error, "Redis is unavailable; workers and requests poll Postgres");
                }
                healthy = false;
            }
        }
        batch.clear();
    }
}
