//! The bell, the news and the events, off everybody's path: what is sent here goes to Redis in one pipeline per flush.
//!
//! Nothing depends on its arrival. A ring that is lost is rung again by the rescuer, news that is lost is read from the
//! row; so a full buffer or a dead Redis costs a delay, and is counted.

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
    event_log::{self, DeliveryState, Mode},
    redis_client::RedisClient,
    run_finished,
    wire::{AwaitingApproval, ReadyNotice, WorkerCommand},
};
use crate::{
    domain::events::{Event, EventData, RunEnd, queued_seq},
    service::{
        config::EventSettings,
        failpoints::{self, Failpoint},
        lifecycle::Lifecycle,
        runtime::drain_ready,
    },
    storage::runs::QueuedRun,
};

/// Notices kept while Redis does not answer; more are dropped.
const BUFFER: usize = 65_536;
/// Notices sent in one pipeline, at most.
const BATCH: usize = 1024;

#[derive(Debug)]
enum Notice {
    Ready(ReadyNotice),
    /// With the run's number of it, for the run's log.
    Finished {
        run_id: Uuid,
        seq: i64,
        payload: Vec<u8>,
    },
    Event {
        mode: Mode,
        user_id: Uuid,
        run_id: Uuid,
        seq: i64,
        /// As [`event_log::encode`] writes it.
        payload: Vec<u8>,
        feedback: Option<Arc<DeliveryState>>,
    },
    /// An event that is told, but not logged: everybody can make it from the run's row.
    Publish {
        user_id: Uuid,
        payload: Vec<u8>,
    },
    AwaitingApproval(AwaitingApproval),
    Command(WorkerCommand),
}

impl Notice {
    /// Whether somebody's answer hangs on it.
    const fn is_waited_for(&self) -> bool {
        matches!(
            self,
            Self::Ready(_) | Self::Finished { .. } | Self::AwaitingApproval(_)
        )
    }
}

/// Whose event it is, and who wants to know what became of it.
#[derive(Clone, Debug)]
pub struct EventSource {
    /// Whose run it is.
    pub user_id: Uuid,
    /// What became of the events of this lease.
    pub feedback: Arc<DeliveryState>,
}

/// Sends rings, news and events; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier {
    notices: mpsc::Sender<Notice>,
    lost: Arc<AtomicU64>,
    closing: CancellationToken,
}

impl Notifier {
    /// A notifier whose sender runs on the process's tracker until [`Self::close`].
    pub fn start(redis: RedisClient, events: EventSettings, lifecycle: &Lifecycle) -> Self {
        let (notices, inbox) = mpsc::channel(BUFFER);
        let notifier = Self {
            notices,
            lost: Arc::default(),
            closing: CancellationToken::new(),
        };
        lifecycle.spawn(send_all(
            Sender::new(redis, events),
            inbox,
            Arc::clone(&notifier.lost),
            notifier.closing.clone(),
        ));
        notifier
    }

    /// Rings the bell for a run of this user that can be claimed.
    pub fn notify_ready(&self, user_id: Uuid, run_id: Uuid) {
        self.put(Notice::Ready(ReadyNotice { user_id, run_id }));
    }

    /// Tells every API instance that a run has ended. Only after the commit that ended it.
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

    /// Tells of a message that was posted. Only after the commit that stored it.
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

    /// Tells of a run that waits again, which ends what its last holder may tell. Only after the commit.
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

    /// Tells an event of a run under its lease: with `begin` into a log that is made if need be, else only into one that
    /// is there.
    pub fn publish(&self, teller: &EventSource, event: &Event<'_>, begin: bool) {
        let mode = if begin { Mode::Begin } else { Mode::Append };
        self.append(mode, teller.user_id, event, Some(Arc::clone(&teller.feedback)));
    }

    /// Tells every API instance that a run waits for its user. Only after the commit that parked it.
    pub fn publish_awaiting_approval(&self, waiting: AwaitingApproval) {
        self.put(Notice::AwaitingApproval(waiting));
    }

    /// Calls out to the workers.
    pub fn send_command(&self, command: WorkerCommand) {
        self.put(Notice::Command(command));
    }

    /// How many notices were lost to a full buffer or to Redis.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How many notices are not sent yet.
    pub fn waiting(&self) -> usize {
        self.notices.max_capacity() - self.notices.capacity()
    }

    /// Sends what is buffered, then ends the sender.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn append(&self, mode: Mode, user_id: Uuid, event: &Event<'_>, feedback: Option<Arc<DeliveryState>>) {
        if let Some(payload) = encode(user_id, event) {
            self.put(Notice::Event {
                mode,
                user_id,
                run_id: event.run_id,
                seq: event.seq,
                payload,
                feedback,
            });
        }
    }

    fn put(&self, notice: Notice) {
        if let Err(unsent) = self.notices.try_send(notice) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            pipeline::lost(&unsent.into_inner());
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
        if !batch.iter().any(Notice::is_waited_for) {
            // Whoever acts after telling of it, as a step that is to be written, acts first.
            drain_ready(&mut inbox, &mut batch, BATCH).await;
        }
        match sender.send(&batch).await {
            Ok(()) => {
                if batch
                    .iter()
                    .any(|notice| matches!(notice, Notice::Finished { .. }))
                {
                    failpoints::hit(Failpoint::NewsSent);
                }
                if !healthy {
                    tracing::info!("Redis answers again");
                }
                healthy = true;
            }
            Err(error) => {
                lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                batch.iter().for_each(pipeline::lost);
                if healthy {
                    tracing::warn!(%error, "Redis does not take notices; runs are found by the sweep");
                }
                healthy = false;
            }
        }
        batch.clear();
    }
}
