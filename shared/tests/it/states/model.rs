//! What docs/run-states.md says, as plain data: which row every action leaves behind. Knows no SQL, no ids, no clock.

mod consents;

use std::collections::HashSet;

use errand_shared::{
    domain::{events::final_seq, run::RunStatus},
    storage::{queue::posts::PostOutcome, runs::RetryOutcome},
};

pub(crate) use self::consents::{Ask, Opening};

/// Open runs of a user, at most.
pub(crate) const MAX_OPEN: usize = 5;
/// Workers that may die under a run.
pub(crate) const MAX_RESCUES: i32 = 3;
/// Tokens that every step sends.
pub(crate) const TOKENS_A_STEP: i64 = 3;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) runs: Vec<Run>,
    /// Every lease that was ever given: its run and its epoch.
    pub(crate) leases: Vec<(usize, i32)>,
    /// Every call that was ever journalled before it was made, in this order.
    pub(crate) asked: Vec<Ask>,
    keys: HashSet<(usize, u8)>,
}

#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) user: usize,
    pub(crate) last_seq: i64,
    pub(crate) gone: bool,
    /// Sequence number, run and role of its messages.
    pub(crate) messages: Vec<(i64, usize, &'static str)>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the row holds times in their place")]
pub(crate) struct Run {
    pub(crate) user: usize,
    pub(crate) conversation: usize,
    pub(crate) seq: i64,
    pub(crate) status: RunStatus,
    pub(crate) attempt: i32,
    pub(crate) failures: i32,
    pub(crate) rescues: i32,
    pub(crate) epoch: i32,
    /// By number.
    pub(crate) lease: Option<usize>,
    pub(crate) worker: Option<usize>,
    pub(crate) cancel: bool,
    /// Whether its back-off is over.
    pub(crate) due: bool,
    pub(crate) time: Time,
    /// Whether its deadline is over, or was when it was parked.
    pub(crate) late: bool,
    /// Whether its time for consent is over, while it is parked.
    parked_over: bool,
    /// Whether its worker has been silent since it was claimed.
    pub(crate) abandoned: bool,
    pub(crate) final_seq: Option<i64>,
    pub(crate) steps: i16,
    /// Calls that have results.
    pub(crate) calls: i64,
    /// Of those, calls that did what they were asked for.
    pub(crate) made: i64,
    pub(crate) tokens: i64,
    pub(crate) gone: bool,
    /// The numbers of the final events that anybody was told.
    told: Vec<i64>,
}

/// What a run's deadline does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// It was not claimed since it was queued.
    Untimed,
    Runs,
    /// It was parked, and not claimed since.
    Stands,
}

/// What a rescuer saw of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) run: usize,
    lease: usize,
    epoch: i32,
    rescues: i32,
    cancel: bool,
    overdue: bool,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    Written {
        cancel_requested: bool,
    },
    LeaseLost,
    /// The same step stands there already.
    Twice,
}

const fn is_open(status: RunStatus) -> bool {
    !status.is_final()
}

impl Model {
    /// A message and its run, in a new conversation or one that there is.
    pub(crate) fn post(&mut self, user: usize, place: Option<usize>, key: Option<u8>) -> PostOutcome {
        if key.is_some_and(|key| self.keys.contains(&(user, key))) {
            return PostOutcome::KeyKnown;
        }
        if place.is_some_and(|place| self.conversations[place].gone || self.conversations[place].user != user)
        {
            return PostOutcome::NoConversation;
        }
        let open = |run: &&Run| run.user == user && !run.gone && is_open(run.status);
        if self.runs.iter().filter(open).count() >= MAX_OPEN {
            return PostOutcome::TooManyOpen;
        }
        self.keys.extend(key.map(|key| (user, key)));
        let conversation = place.unwrap_or_else(|| {
            self.conversations.push(Conversation {
                user,
                last_seq: 0,
                gone: false,
                messages: Vec::new(),
            });
            self.conversations.len() - 1
        });
        let run = self.runs.len();
        let seq = self.conversations[conversation].say(run, "user");
        self.runs.push(Run {
            user,
            conversation,
            seq,
            status: RunStatus::Queued,
            attempt: 0,
            failures: 0,
            rescues: 0,
            epoch: 0,
            lease: None,
            worker: None,
            cancel: false,
            due: true,
            time: Time::Untimed,
            late: false,
            parked_over: false,
            abandoned: false,
            final_seq: None,
            steps: 0,
            calls: 0,
            made: 0,
            tokens: 0,
            gone: false,
            told: Vec::new(),
        });
        PostOutcome::Stored
    }

    /// Whether a run is queued, due, and the first open run of its conversation.
    pub(crate) fn is_ready(&self, run: usize) -> bool {
        let it = &self.runs[run];
        let before = |other: &Run| {
            other.conversation == it.conversation && other.seq < it.seq && is_open(other.status)
        };
        !it.gone && it.status == RunStatus::Queued && it.due && !self.runs.iter().any(before)
    }

    /// The runs among the hints that the worker gets, each under the next number of a lease.
    pub(crate) fn claim(&mut self, worker: usize, hints: &[usize]) -> Vec<usize> {
        let mut ready: Vec<_> = hints.iter().copied().filter(|run| self.is_ready(*run)).collect();
        ready.sort_unstable();
        ready.dedup();
        for &number in &ready {
            let run = &mut self.runs[number];
            run.status = RunStatus::Running;
            run.time = Time::Runs;
            run.attempt += 1;
            run.epoch += 1;
            run.lease = Some(self.leases.len());
            run.worker = Some(worker);
            run.abandoned = false;
            self.leases.push((number, run.epoch));
        }
        ready
    }

    /// The run of a lease, while the lease is its own.
    fn held(&mut self, lease: usize) -> Option<&mut Run> {
        let run = &mut self.runs[self.leases[lease].0];
        (!run.gone && run.lease == Some(lease)).then_some(run)
    }

    /// A step with so many tool calls; with `again`, the last one once more.
    pub(crate) fn step(&mut self, lease: usize, calls: u8, again: bool) -> Stepped {
        let Some(run) = self.held(lease) else {
            return Stepped::LeaseLost;
        };
        if again && run.steps > 0 {
            return Stepped::Twice;
        }
        run.steps += 1;
        run.calls += i64::from(calls);
        run.made += i64::from(calls);
        Stepped::Written {
            cancel_requested: run.cancel,
        }
    }

    /// The end of a lease's run, with a last step or without; false if it is no longer the lease's.
    pub(crate) fn finish(&mut self, lease: usize, status: RunStatus, last_step: bool) -> bool {
        let (number, epoch) = self.leases[lease];
        let Some(run) = self.held(lease) else {
            return false;
        };
        run.steps += i16::from(last_step);
        self.end(number, status, epoch);
        true
    }

    fn end(&mut self, number: usize, status: RunStatus, epoch: i32) {
        let run = &mut self.runs[number];
        run.status = if run.cancel { RunStatus::Cancelled } else { status };
        run.lease = None;
        run.epoch = epoch;
        run.tokens = i64::from(run.steps) * TOKENS_A_STEP;
        let final_seq = final_seq(epoch);
        run.final_seq = Some(final_seq);
        run.told.push(final_seq);
        let (calls, succeeded) = (run.calls, run.status == RunStatus::Succeeded);
        let conversation = &mut self.conversations[run.conversation];
        for _ in 0..calls {
            conversation.say(number, "tool");
        }
        if succeeded {
            conversation.say(number, "assistant");
        }
    }

    /// Queues the lease's run again; with `fault`, later and counted. Gives the epoch in which it waits.
    pub(crate) fn release(&mut self, lease: usize, fault: bool) -> Option<i32> {
        let run = self.held(lease)?;
        run.queue_again();
        run.failures += i32::from(fault);
        run.due = !fault;
        Some(run.epoch)
    }

    /// Queues again what bears the worker's id.
    pub(crate) fn release_all(&mut self, worker: usize) -> Vec<usize> {
        let mut released = Vec::new();
        for (number, run) in self.runs.iter_mut().enumerate() {
            if !run.gone && run.status == RunStatus::Running && run.worker == Some(worker) {
                run.queue_again();
                released.push(number);
            }
        }
        released
    }

    /// The worker is silent for longer than it may be.
    pub(crate) fn vanish(&mut self, worker: usize) {
        for run in &mut self.runs {
            run.abandoned |= run.status == RunStatus::Running && run.worker == Some(worker);
        }
    }

    /// The runs of silent workers, then those past their deadline.
    pub(crate) fn look(&self, silent: &[bool]) -> (Vec<Seen>, Vec<Seen>) {
        let strays = |of: &dyn Fn(&Run) -> bool| {
            self.runs
                .iter()
                .enumerate()
                .filter(|(_, run)| !run.gone && of(run))
                .filter_map(|(number, run)| {
                    Some(Seen {
                        run: number,
                        lease: run.lease?,
                        epoch: run.epoch,
                        rescues: run.rescues,
                        cancel: run.cancel,
                        overdue: run.late,
                    })
                })
                .collect()
        };
        (
            strays(&|run| run.abandoned && run.worker.is_some_and(|worker| silent[worker])),
            strays(&|run| run.late),
        )
    }

    /// What the rescuer does about what it saw, however long ago.
    pub(crate) fn settle(&mut self, seen: Seen) {
        let Some(run) = self.held(seen.lease) else {
            return;
        };
        let status = if seen.cancel {
            RunStatus::Cancelled
        } else if seen.overdue || seen.rescues + 1 >= MAX_RESCUES {
            RunStatus::Failed
        } else {
            run.queue_again();
            run.rescues += 1;
            return;
        };
        self.close(seen.run);
        self.end(seen.run, status, seen.epoch + 1);
    }

    /// Its user wants an end: where the run stands and its epoch. None if it is not there, or not this user's.
    pub(crate) fn request_cancel(&mut self, user: usize, run: usize) -> Option<(RunStatus, i32)> {
        let run = &mut self.runs[run];
        if run.gone || run.user != user {
            return None;
        }
        run.cancel |= is_open(run.status);
        Some((run.status, run.epoch))
    }

    /// The API ends a run that it saw queued or parked, in that epoch; false if the run has changed hands since.
    pub(crate) fn end_unheld(&mut self, number: usize, epoch: i32) -> bool {
        let run = &self.runs[number];
        let unheld = matches!(run.status, RunStatus::Queued | RunStatus::WaitingApproval);
        let ends = !run.gone && unheld && run.epoch == epoch;
        if ends {
            self.close(number);
            self.end(number, RunStatus::Cancelled, epoch + 1);
        }
        ends
    }

    /// Tried again by its user: the epoch in which it waits, or why not.
    pub(crate) fn retry(&mut self, user: usize, number: usize) -> Result<i32, RetryOutcome> {
        let run = &self.runs[number];
        if run.gone || run.user != user {
            return Err(RetryOutcome::NotFound);
        }
        let later = |other: &Run| other.conversation == run.conversation && other.seq > run.seq;
        if !matches!(run.status, RunStatus::Failed | RunStatus::Cancelled) || self.runs.iter().any(later) {
            return Err(RetryOutcome::NotRetryable);
        }
        self.conversations[run.conversation]
            .messages
            .retain(|(_, of, role)| *of != number || *role != "tool");
        let run = &mut self.runs[number];
        run.queue_again();
        run.time = Time::Untimed;
        (run.cancel, run.late, run.failures, run.rescues, run.final_seq) = (false, false, 0, 0, None);
        Ok(run.epoch)
    }

    pub(crate) fn delete(&mut self, user: usize, number: usize) -> bool {
        let conversation = &mut self.conversations[number];
        if conversation.gone || conversation.user != user {
            return false;
        }
        conversation.gone = true;
        conversation.messages.clear();
        for run in self.runs.iter_mut().filter(|run| run.conversation == number) {
            run.gone = true;
        }
        true
    }

    /// What must hold after whatever has happened, said without the rules above.
    pub(crate) fn check(&self) {
        for (number, conversation) in self.conversations.iter().enumerate() {
            let runs: Vec<_> = self
                .runs
                .iter()
                .filter(|run| run.conversation == number)
                .collect();
            let is_live = |run: &Run| matches!(run.status, RunStatus::Running | RunStatus::WaitingApproval);
            let live = runs.iter().position(|run| is_live(run));
            let open = runs.iter().position(|run| is_open(run.status));
            assert!(live.is_none() || live == open, "the first open run goes first");
            let live = runs.iter().filter(|run| is_live(run));
            assert!(live.count() <= 1, "one at a time");
            let replies: Vec<_> = conversation
                .messages
                .iter()
                .filter(|message| message.2 == "assistant")
                .map(|message| message.1)
                .collect();
            assert!(
                replies.is_sorted_by(|a, b| a < b),
                "in order, one a run: {replies:?}"
            );
        }
        for run in self.runs.iter().filter(|run| !run.gone) {
            assert!(
                run.told.is_sorted_by(|a, b| a < b),
                "event numbers never go back: {run:?}"
            );
            if run.status == RunStatus::WaitingApproval {
                assert!(
                    run.lease.is_none() && run.worker.is_none() && run.time == Time::Stands,
                    "a parked run is nobody's, and its time stands: {run:?}"
                );
            }
        }
        self.check_consents();
    }
}

impl Conversation {
    fn say(&mut self, run: usize, role: &'static str) -> i64 {
        self.last_seq += 1;
        self.messages.push((self.last_seq, run, role));
        self.last_seq
    }
}

impl Run {
    fn queue_again(&mut self) {
        self.status = RunStatus::Queued;
        self.lease = None;
        self.worker = None;
        self.abandoned = false;
        self.due = true;
        self.epoch += 1;
    }
}
