//! The load: many conversations of several users, each going on until the round is over.

use std::time::Duration;

use errand_shared::{Uuid, service::lifecycle::Lifecycle};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::sleep;

use crate::{
    client::{Client, Manner, User},
    reader::Seen,
    record::Sent,
    stack::CAREFUL_AGENT,
};

/// Conversations at once.
pub(crate) const LANES: usize = 16;
/// Messages of one conversation, at most.
const LONGEST: usize = 30;
/// How many of a hundred conversations have the agent whose tasks are added only with their user's consent.
const CAREFUL: u32 = 30;

/// Starts all lanes, of whose messages so many in ten go through both APIs at once; they end after their last answer once `lifecycle` is stopped.
pub(crate) fn start(client: &Client, users: &[User], seed: u64, twins: u32, lifecycle: &Lifecycle) {
    for (number, user) in users.iter().cycle().take(LANES).enumerate() {
        let others: Vec<_> = users
            .iter()
            .filter(|other| other.id != user.id)
            .cloned()
            .collect();
        let lane = Lane {
            client: client.clone(),
            user: user.clone(),
            others,
            dice: SmallRng::seed_from_u64(seed.wrapping_add(number as u64 + 1)),
            agent: None,
            conversation: None,
            place: 0,
            twins,
        };
        lifecycle.spawn(lane.run(lifecycle.clone()));
    }
}

/// A message that nobody has sent before. `task` asks for a task.
pub(crate) fn message(user: &User, task: bool, conversation: Option<Uuid>, place: usize) -> Sent {
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
        place,
        run: None,
        answer: None,
        cancel_asked: false,
        cancel_accepted: false,
        seen: Seen::default(),
    }
}

struct Lane {
    client: Client,
    user: User,
    others: Vec<User>,
    dice: SmallRng,
    agent: Option<&'static str>,
    conversation: Option<Uuid>,
    place: usize,
    twins: u32,
}

impl Lane {
    async fn run(mut self, lifecycle: Lifecycle) {
        while !lifecycle.is_stopping() {
            if self.place == 0 {
                self.agent = self.dice.random_ratio(CAREFUL, 100).then_some(CAREFUL_AGENT);
            }
            if !self.burst().await {
                // The conversation is stuck, which is noted; another one goes on.
                self.conversation = None;
                self.place = 0;
            }
            if self.place >= LONGEST || self.dice.random_bool(0.03) {
                self.conversation = None;
                self.place = 0;
            }
            sleep(Duration::from_millis(self.dice.random_range(50..700))).await;
        }
    }

    /// One to three messages at once, then their answers. False if one got none.
    async fn burst(&mut self) -> bool {
        let count = self.dice.random_range(1..=3);
        let mut burst = Vec::with_capacity(count);
        let mut answered = true;
        for nth in 0..count {
            let task = self.dice.random_bool(0.6);
            let mut sent = message(&self.user, task, self.conversation, self.place);
            sent.agent = self.agent;
            let is_last = nth + 1 == count;
            // Whoever reads the last run's events sees no question about the runs before it, which it waits for.
            let may_read = is_last && (count == 1 || self.agent.is_none());
            let manner = self.manner(is_last, may_read);
            let api = self.dice.random_range(0..2);
            if !self.client.deliver(&self.user, &mut sent, api, manner).await {
                answered = false;
                break;
            }
            self.conversation = sent.conversation;
            self.place += 1;
            if self.dice.random_bool(0.05) {
                self.client.cancel(&self.user, &mut sent, api + 1).await;
            }
            burst.push(sent);
        }
        for sent in &mut burst {
            answered &= self.end_of(sent).await;
        }
        if let Some(last) = burst.last_mut()
            && answered
            && last.has_failed()
            && self.dice.random_bool(0.5)
        {
            let api = self.dice.random_range(0..2);
            self.client.retry(&self.user, last, api).await;
            answered = self.end_of(last).await;
        }
        if let (Some(sent), Some(other)) = (burst.last(), self.others.first())
            && let Some(run) = sent.run
            && self.dice.random_bool(0.1)
        {
            self.client.pry(other, run, sent.user, 0).await;
        }
        for sent in burst {
            self.client.record.sent(sent);
        }
        answered
    }

    /// Waits for a run's answer, or reads its events.
    async fn end_of(&mut self, sent: &mut Sent) -> bool {
        let api = self.dice.random_range(0..2);
        if self.dice.random_bool(0.4) {
            self.client.watch(&self.user, sent, api).await
        } else {
            self.client.follow(&self.user, sent, api).await
        }
    }

    fn manner(&mut self, is_last: bool, may_read: bool) -> Manner {
        match self.dice.random_range(0..10) {
            drawn if drawn < self.twins => Manner::Twins,
            1 => Manner::HangUp(self.dice.random_range(1..200)),
            2..=4 => Manner::Async,
            5 if may_read => Manner::Events,
            _ if is_last => Manner::Wait,
            _ => Manner::Async,
        }
    }
}

impl Sent {
    /// Whether its run has ended without a reply.
    fn has_failed(&self) -> bool {
        let status = self
            .answer
            .as_ref()
            .and_then(|answer| answer.get("status")?.as_str());
        matches!(status, Some("failed" | "cancelled"))
    }
}
