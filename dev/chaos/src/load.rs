//! The load: conversations of several users, each of which continues until the round ends.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    client::{Client, SendMode, User},
    reader::Seen,
    record::Sent,
    stack::APPROVAL_AGENT,
};

/// Conversations at the same time.
pub(crate) const CONVERSATIONS: usize = 16;
/// The number of messages after which a new conversation is started.
const MAX_MESSAGES: usize = 30;
/// The percentage of conversations with the agent whose tasks are added only with approval.
const APPROVAL_PERCENT: u32 = 30;

/// The running load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Load {
    /// Starts all conversations. `twins` of ten messages go through both APIs at the same time.
    pub(crate) fn start(client: &Client, users: &[User], seed: u64, twins: u32) -> Self {
        let load = Self::default();
        for (number, user) in users.iter().cycle().take(CONVERSATIONS).enumerate() {
            let others: Vec<_> = users
                .iter()
                .filter(|other| other.id != user.id)
                .cloned()
                .collect();
            let speaker = Speaker {
                client: client.clone(),
                user: user.clone(),
                others,
                rng: SmallRng::seed_from_u64(seed.wrapping_add(number as u64 + 1)),
                agent: None,
                conversation: None,
                position: 0,
                twins,
            };
            load.tasks.spawn(speaker.run(load.stop.clone()));
        }
        load
    }

    /// Sends no more messages and waits for the last answers. Returns false if that takes too long.
    pub(crate) async fn stop(self, within: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        timeout(within, self.tasks.wait()).await.is_ok()
    }
}

/// A new message with unique text. `task` asks for a task.
pub(crate) fn message(user: &User, task: bool, conversation: Option<Uuid>, position: usize) -> Sent {
    let item = Uuid::now_v7().simple().to_string();
    let title = format!("buy item-{item}");
    Sent {
        user: user.id,
        text: if task {
            format!("Add a task: {title}")
        } else {
            format!("Hello, this is number {item}")
        },
        task: task.then_some(title),
        key: Uuid::now_v7().to_string(),
        agent: None,
        conversation,
        position,
        run: None,
        answer: None,
        cancel_requested: false,
        cancel_accepted: false,
        seen: Seen::default(),
    }
}

/// Sends the messages of one conversation after the other.
struct Speaker {
    client: Client,
    user: User,
    others: Vec<User>,
    rng: SmallRng,
    agent: Option<&'static str>,
    conversation: Option<Uuid>,
    position: usize,
    twins: u32,
}

impl Speaker {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.position == 0 {
                self.agent = self
                    .rng
                    .random_ratio(APPROVAL_PERCENT, 100)
                    .then_some(APPROVAL_AGENT);
            }
            // An unanswered message is a recorded violation; another conversation continues.
            let was_answered = self.burst().await;
            if !was_answered || self.position >= MAX_MESSAGES || self.rng.random_bool(0.03) {
                self.conversation = None;
                self.position = 0;
            }
            sleep(Duration::from_millis(self.rng.random_range(50..700))).await;
        }
    }

    /// Sends one to three messages and waits for their answers. Returns false if one was not answered.
    async fn burst(&mut self) -> bool {
        let count = self.rng.random_range(1..=3);
        let mut burst = Vec::with_capacity(count);
        let mut answered = true;
        for nth in 0..count {
            let task = self.rng.random_bool(0.6);
            let mut sent = message(&self.user, task, self.conversation, self.position);
            sent.agent = self.agent;
            let is_last = nth + 1 == count;
            // The events of the last run do not show the approvals that the runs before it wait for.
            let may_stream = is_last && (count == 1 || self.agent.is_none());
            let mode = self.send_mode(is_last, may_stream);
            let api = self.rng.random_range(0..2);
            if !self.client.deliver(&self.user, &mut sent, api, mode).await {
                answered = false;
                break;
            }
            self.conversation = sent.conversation;
            self.position += 1;
            if self.rng.random_bool(0.05) {
                self.client.cancel(&self.user, &mut sent, api + 1).await;
            }
            burst.push(sent);
        }
        for sent in &mut burst {
            answered &= self.wait_for_answer(sent).await;
        }
        if let Some(last) = burst.last_mut()
            && answered
            && last.has_failed()
            && self.rng.random_bool(0.5)
        {
            let api = self.rng.random_range(0..2);
            self.client.retry(&self.user, last, api).await;
            answered = self.wait_for_answer(last).await;
        }
        if let (Some(sent), Some(other)) = (burst.last(), self.others.first())
            && let Some(run) = sent.run
            && self.rng.random_bool(0.1)
        {
            self.client.read_foreign_run(other, run, sent.user, 0).await;
        }
        for sent in burst {
            self.client.record.add(sent);
        }
        answered
    }

    /// Waits for a run's answer, or reads its events.
    async fn wait_for_answer(&mut self, sent: &mut Sent) -> bool {
        let api = self.rng.random_range(0..2);
        if self.rng.random_bool(0.4) {
            self.client.subscribe(&self.user, sent, api).await
        } else {
            self.client.follow(&self.user, sent, api).await
        }
    }

    fn send_mode(&mut self, is_last: bool, may_stream: bool) -> SendMode {
        match self.rng.random_range(0..10) {
            drawn if drawn < self.twins => SendMode::Twins,
            1 => SendMode::HangUp(self.rng.random_range(1..200)),
            2..=4 => SendMode::Async,
            5 if may_stream => SendMode::Events,
            _ if is_last => SendMode::Wait,
            _ => SendMode::Async,
        }
    }
}

impl Sent {
    /// Whether the run has finished without a reply.
    fn has_failed(&self) -> bool {
        let status = self
            .answer
            .as_ref()
            .and_then(|answer| answer.get("status")?.as_str());
        matches!(status, Some("failed" | "cancelled"))
    }
}
