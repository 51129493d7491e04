//! The model of `docs/RUN_STATES.md` as plain data: the rows after every action. Knows no SQL, no ids and no clock.

mod approvals;

use std::collections::HashSet;

use errand_shared::{
    domain::{events::final_seq, run::RunStatus},
    storage::{queue::posts::PostOutcome, runs::RetryOutcome},
};

pub(crate) use self::approvals::{Ask, Deferral};

/// Maximum number of open runs of a user.
pub(crate) const MAX_OPEN: usize = 5;
/// How many workers of a run may die before it fails.
pub(crate) const MAX_RESCUES: i32 = 3;
/// Prompt tokens of every step.
pub(crate) const TOKENS_PER_STEP: i64 = 3;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) runs: Vec<Run>,
    /// Every lease so far: its run and its epoch.
    pub(crate) leases: Vec<(usize, i32)>,
    /// Every call of a deferred step so far, in order.
    pub(crate) asked: Vec<Ask>,
    keys: HashSet<(usize, u8)>,
}

#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) user: usize,
    pub(crate) last_seq: i64,
    pub(crate) deleted: bool,
    /// Sequence number, run and role of its messages.
    pub(crate) messages: Vec<(i64, usize, &'static str)>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the row has timestamps instead")]
pub(crate) struct Run {
    pub(crate) user: usize,
    pub(crate) conversation: usize,
    pub(crate) seq: i64,
    pub(crate) status: RunStatus,
    pub(crate) attempt: i32,
    pub(crate) failures: i32,
    pub(crate) rescues: i32,
    pub(crate) epoch: i32,
    /// The number of the lease.
    pub(crate) lease: Option<usize>,
    pub(crate) worker: Option<usize>,
    pub(crate) cancel: bool,
    /// Whether its delay has passed.
    pub(crate) due: bool,
    pub(crate) time: Time,
    /// Whether its deadline has passed, or had passed when it was suspended.
    pub(crate) late: bool,
    /// Whether its approval has expired.
    approval_expired: bool,
    /// Whether its worker has been silent since it was claimed.
    pub(crate) abandoned: bool,
    pub(crate) final_seq: Option<i64>,
    pub(crate) steps: i16,
    /// Calls that have results.
    pub(crate) calls: i64,
    /// How many of them succeeded.
    pub(crate) made: i64,
    pub(crate) tokens: i64,
    pub(crate) deleted: bool,
    /// The numbers of its final events so far.
    final_seqs: Vec<i64>,
}

/// The state of a run's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// The run was not claimed since it was queued.
    NotStarted,
    Runs,
    /// The run awaited approval, and was not claimed since.
    Suspended,
}

/// A run as the rescuer saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) run: usize,
    lease: usize,
    epoch: i32,
    rescues: i32,
    cancel: bool,
    overdue: bool,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    Written {
        cancel_requested: bool,
    },
    LeaseLost,
    /// The step is already recorded.
    Duplicate,
}

const fn is_open(status: RunStatus) -> bool {
    !status.is_final()
}

impl Model {
    /// A post to a new conversation, or to an existing one.
    pub(crate) fn post(&mut self, user: usize, place: Option<usize>, key: Option<u8>) -> PostOutcome {
        if key.is_some_and(|key| self.keys.contains(&(user, key))) {
            return PostOutcome::KeyAlreadyUsed;
        }
        if place
            .is_some_and(|place| self.conversations[place].deleted || self.conversations[place].user != user)
        {
            return PostOutcome::ConversationNotFound;
        }
        let open = |run: &&Run| run.user == user && !run.deleted && is_open(run.status);
        if self.runs.iter().filter(open).count() >= MAX_OPEN {
            return PostOutcome::TooManyOpenRuns;
        }
        self.keys.extend(key.map(|key| (user, key)));
        let conversation = place.unwrap_or_else(|| {
            self.conversations.push(Conversation {
                user,
                last_seq: 0,
                deleted: false,
                messages: Vec::new(),
            });
            self.conversations.len() - 1
        });
        let run = self.runs.len();
        let seq = self.conversations[conversation].add_message(run, "user");
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
            time: Time::NotStarted,
            late: false,
            approval_expired: false,
            abandoned: false,
            final_seq: None,
            steps: 0,
            calls: 0,
            made: 0,
            tokens: 0,
            deleted: false,
            final_seqs: Vec::new(),
        });
        PostOutcome::Stored
    }

    /// Whether a run is queued, due, and the first open run of its conversation.
    pub(crate) fn is_ready(&self, run: usize) -> bool {
        let it = &self.runs[run];
        let before = |other: &Run| {
            other.conversation == it.conversation && other.seq < it.seq && is_open(other.status)
        };
        !it.deleted && it.status == RunStatus::Queued && it.due && !self.runs.iter().any(before)
    }

    /// Claims the ready runs among `picks`. Each gets the next lease number.
    pub(crate) fn claim(&mut self, worker: usize, picks: &[usize]) -> Vec<usize> {
        let mut ready: Vec<_> = picks.iter().copied().filter(|run| self.is_ready(*run)).collect();
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

    /// The run of a lease, while the lease is valid.
    fn held(&mut self, lease: usize) -> Option<&mut Run> {
        let run = &mut self.runs[self.leases[lease].0];
        (!run.deleted && run.lease == Some(lease)).then_some(run)
    }

    /// Records a step with this number of tool calls; with `again`, the last step a second time.
    pub(crate) fn step(&mut self, lease: usize, calls: u8, again: bool) -> Stepped {
        let Some(run) = self.held(lease) else {
            return Stepped::LeaseLost;
        };
        if again && run.steps > 0 {
            return Stepped::Duplicate;
        }
        run.steps += 1;
        run.calls += i64::from(calls);
        run.made += i64::from(calls);
        Stepped::Written {
            cancel_requested: run.cancel,
        }
    }

    /// Finishes the run of a lease, with or without a last step. False if the lease is lost.
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
        run.tokens = i64::from(run.steps) * TOKENS_PER_STEP;
        let final_seq = final_seq(epoch);
        run.final_seq = Some(final_seq);
        run.final_seqs.push(final_seq);
        let (calls, succeeded) = (run.calls, run.status == RunStatus::Succeeded);
        let conversation = &mut self.conversations[run.conversation];
        for _ in 0..calls {
            conversation.add_message(number, "tool");
        }
        if succeeded {
            conversation.add_message(number, "assistant");
        }
    }

    /// Releases the run of a lease; with `fault`, delayed and counted as a failure. Returns its new epoch.
    pub(crate) fn release(&mut self, lease: usize, fault: bool) -> Option<i32> {
        let run = self.held(lease)?;
        run.requeue();
        run.failures += i32::from(fault);
        run.due = !fault;
        Some(run.epoch)
    }

    /// Releases all runs of a worker.
    pub(crate) fn release_all(&mut self, worker: usize) -> Vec<usize> {
        let mut released = Vec::new();
        for (number, run) in self.runs.iter_mut().enumerate() {
            if !run.deleted && run.status == RunStatus::Running && run.worker == Some(worker) {
                run.requeue();
                released.push(number);
            }
        }
        released
    }

    /// A worker sends no heartbeat for too long.
    pub(crate) fn fall_silent(&mut self, worker: usize) {
        for run in &mut self.runs {
            run.abandoned |= run.status == RunStatus::Running && run.worker == Some(worker);
        }
    }

    /// Returns the runs of silent workers, and the runs past their deadline.
    pub(crate) fn find_stuck_runs(&self, silent: &[bool]) -> (Vec<Seen>, Vec<Seen>) {
        let stuck = |of: &dyn Fn(&Run) -> bool| {
            self.runs
                .iter()
                .enumerate()
                .filter(|(_, run)| !run.deleted && of(run))
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
            stuck(&|run| run.abandoned && run.worker.is_some_and(|worker| silent[worker])),
            stuck(&|run| run.late),
        )
    }

    /// The rescuer handles a run that it saw earlier.
    pub(crate) fn rescue(&mut self, seen: Seen) {
        let Some(run) = self.held(seen.lease) else {
            return;
        };
        let status = if seen.cancel {
            RunStatus::Cancelled
        } else if seen.overdue || seen.rescues + 1 >= MAX_RESCUES {
            RunStatus::Failed
        } else {
            run.requeue();
            run.rescues += 1;
            return;
        };
        self.settle_run(seen.run);
        self.end(seen.run, status, seen.epoch + 1);
    }

    /// Requests a cancellation. Returns the run's status and epoch. None if it does not exist or belongs to another user.
    pub(crate) fn request_cancel(&mut self, user: usize, run: usize) -> Option<(RunStatus, i32)> {
        let run = &mut self.runs[run];
        if run.deleted || run.user != user {
            return None;
        }
        run.cancel |= is_open(run.status);
        Some((run.status, run.epoch))
    }

    /// The API finishes a run that it saw queued or awaiting approval in this epoch. False if the run has changed since.
    pub(crate) fn finish_unclaimed(&mut self, number: usize, epoch: i32) -> bool {
        let run = &self.runs[number];
        let unclaimed = matches!(run.status, RunStatus::Queued | RunStatus::WaitingApproval);
        let ends = !run.deleted && unclaimed && run.epoch == epoch;
        if ends {
            self.settle_run(number);
            self.end(number, RunStatus::Cancelled, epoch + 1);
        }
        ends
    }

    /// Retries a run. Returns its new epoch, or why it cannot be retried.
    pub(crate) fn retry(&mut self, user: usize, number: usize) -> Result<i32, RetryOutcome> {
        let run = &self.runs[number];
        if run.deleted || run.user != user {
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
        run.requeue();
        run.time = Time::NotStarted;
        (run.cancel, run.late, run.failures, run.rescues, run.final_seq) = (false, false, 0, 0, None);
        Ok(run.epoch)
    }

    pub(crate) fn delete(&mut self, user: usize, number: usize) -> bool {
        let conversation = &mut self.conversations[number];
        if conversation.deleted || conversation.user != user {
            return false;
        }
        conversation.deleted = true;
        conversation.messages.clear();
        for run in self.runs.iter_mut().filter(|run| run.conversation == number) {
            run.deleted = true;
        }
        true
    }

    /// Asserts the invariants, independently of the rules above.
    pub(crate) fn check_invariants(&self) {
        for (number, conversation) in self.conversations.iter().enumerate() {
            let runs: Vec<_> = self
                .runs
                .iter()
                .filter(|run| run.conversation == number)
                .collect();
            let is_live = |run: &Run| matches!(run.status, RunStatus::Running | RunStatus::WaitingApproval);
            let live = runs.iter().position(|run| is_live(run));
            let open = runs.iter().position(|run| is_open(run.status));
            assert!(
                live.is_none() || live == open,
                "only the first open run may execute"
            );
            let live = runs.iter().filter(|run| is_live(run));
            assert!(live.count() <= 1, "at most one run executes");
            let replies: Vec<_> = conversation
                .messages
                .iter()
                .filter(|message| message.2 == "assistant")
                .map(|message| message.1)
                .collect();
            assert!(
                replies.is_sorted_by(|a, b| a < b),
                "one reply per run, in order: {replies:?}"
            );
        }
        for run in self.runs.iter().filter(|run| !run.deleted) {
            assert!(
                run.final_seqs.is_sorted_by(|a, b| a < b),
                "event numbers increase: {run:?}"
            );
            if run.status == RunStatus::WaitingApproval {
                assert!(
                    run.lease.is_none() && run.worker.is_none() && run.time == Time::Suspended,
                    "a run that awaits approval has no lease and a suspended deadline: {run:?}"
                );
            }
        }
        self.check_approvals();
    }
}

impl Conversation {
    fn add_message(&mut self, run: usize, role: &'static str) -> i64 {
        self.last_seq += 1;
        self.messages.push((self.last_seq, run, role));
        self.last_seq
    }
}

impl Run {
    fn requeue(&mut self) {
        self.status = RunStatus::Queued;
        self.lease = None;
        self.worker = None;
        self.abandoned = false;
        self.due = true;
        self.epoch += 1;
    }
}
