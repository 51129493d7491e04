//! The model of deferred steps and of the decisions about their calls.

use errand_shared::{domain::run::RunStatus, storage::journal::approvals::DecisionOutcome};

use super::{Model, Stepped, Time};

/// A call of a deferred step.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the row has timestamps instead")]
pub(crate) struct Ask {
    pub(crate) run: usize,
    pub(crate) step: i16,
    pub(crate) index: i16,
    pub(crate) needs_approval: bool,
    pub(crate) approved: Option<bool>,
    pub(crate) started: bool,
    pub(crate) has_result: bool,
    /// Whether its result is a success.
    succeeded: bool,
    /// Whether its approval has expired.
    expired: bool,
    /// How many decisions were stored.
    decisions: u8,
}

/// The outcome of deferring a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferral {
    Recorded,
    Waiting { epoch: i32 },
    CancelRequested,
    LeaseLost,
}

impl Ask {
    const fn may_be_made(&self) -> bool {
        !self.needs_approval || matches!(self.approved, Some(true))
    }

    const fn is_undecided(&self) -> bool {
        self.needs_approval && self.approved.is_none()
    }
}

impl Model {
    /// Defers a step. If a call needs approval, the run awaits it.
    pub(crate) fn defer_step(&mut self, lease: usize, needs_approval: &[bool]) -> Deferral {
        let number = self.leases[lease].0;
        let Some(run) = self.held(lease) else {
            return Deferral::LeaseLost;
        };
        if run.cancel {
            return Deferral::CancelRequested;
        }
        let step = run.steps;
        run.steps += 1;
        let waits = needs_approval.contains(&true);
        if waits {
            run.status = RunStatus::WaitingApproval;
            run.lease = None;
            run.worker = None;
            run.abandoned = false;
            run.time = Time::Suspended;
            run.approval_expired = false;
            run.epoch += 1;
        }
        let epoch = run.epoch;
        self.asked
            .extend((0..).zip(needs_approval).map(|(index, &needs_approval)| Ask {
                run: number,
                step,
                index,
                needs_approval,
                approved: None,
                started: false,
                has_result: false,
                succeeded: false,
                expired: false,
                decisions: 0,
            }));
        if waits {
            Deferral::Waiting { epoch }
        } else {
            Deferral::Recorded
        }
    }

    /// Marks a call as started. None if it must not be made.
    pub(crate) fn start(&mut self, lease: usize, call: usize) -> Option<bool> {
        let cancel = self.held(lease)?.cancel;
        let ask = &mut self.asked[call];
        if !ask.may_be_made() {
            return None;
        }
        ask.started = true;
        Some(cancel)
    }

    /// Records the result of a call. A success without the approval that it needs counts as a lost lease.
    pub(crate) fn record_result(&mut self, lease: usize, call: usize, success: bool) -> Stepped {
        let ask = &self.asked[call];
        let (allowed, has_result) = (!success || ask.may_be_made(), ask.has_result);
        let Some(run) = self.held(lease) else {
            return Stepped::LeaseLost;
        };
        if !allowed {
            return Stepped::LeaseLost;
        }
        if has_result {
            return Stepped::Duplicate;
        }
        run.calls += 1;
        run.made += i64::from(success);
        let cancel_requested = run.cancel;
        let ask = &mut self.asked[call];
        (ask.has_result, ask.succeeded) = (true, success);
        Stepped::Written { cancel_requested }
    }

    /// Decides about a call. Returns the run's new epoch if this was the last decision of its step, otherwise the outcome.
    pub(crate) fn decide(&mut self, user: usize, call: usize, approve: bool) -> Result<i32, DecisionOutcome> {
        let ask = &self.asked[call];
        let (number, step) = (ask.run, ask.step);
        let run = &self.runs[number];
        if run.deleted || run.user != user {
            return Err(DecisionOutcome::RunNotFound);
        }
        if !ask.needs_approval {
            return Err(DecisionOutcome::CallNotFound);
        }
        match ask.approved {
            Some(previous) if previous == approve => return Err(DecisionOutcome::SameAsBefore),
            Some(_) => return Err(DecisionOutcome::Conflicting),
            None => {}
        }
        // A run awaits decisions about its last step only.
        if run.status != RunStatus::WaitingApproval || ask.expired || step + 1 != run.steps {
            return Err(DecisionOutcome::TooLate);
        }
        let ask = &mut self.asked[call];
        ask.approved = Some(approve);
        ask.decisions += 1;
        let waits = |ask: &Ask| ask.run == number && ask.step == step && ask.is_undecided();
        if self.asked.iter().any(waits) {
            return Err(DecisionOutcome::Stored);
        }
        let run = &mut self.runs[number];
        run.requeue();
        Ok(run.epoch)
    }

    /// An hour passes for a run that awaits approval: the approval expires, and the suspended deadline does not change.
    pub(crate) fn hour_passes(&mut self, number: usize) -> bool {
        let run = &mut self.runs[number];
        let waits = !run.deleted && run.status == RunStatus::WaitingApproval;
        if waits {
            run.approval_expired = true;
            for ask in self.asked.iter_mut().filter(|ask| ask.run == number) {
                ask.expired = true;
            }
        }
        waits
    }

    /// Queues the runs whose approval expired.
    pub(crate) fn expire(&mut self) -> Vec<usize> {
        let mut expired = Vec::new();
        for (number, run) in self.runs.iter_mut().enumerate() {
            if !run.deleted && run.status == RunStatus::WaitingApproval && run.approval_expired {
                run.requeue();
                expired.push(number);
            }
        }
        expired
    }

    /// The worker of a lease settles the pending calls, because the run finishes without a reply.
    pub(crate) fn settle_pending(&mut self, lease: usize) {
        if self.held(lease).is_some() {
            self.settle_run(self.leases[lease].0);
        }
    }

    /// Records a result for every pending call of a run.
    pub(super) fn settle_run(&mut self, number: usize) {
        for ask in self
            .asked
            .iter_mut()
            .filter(|ask| ask.run == number && !ask.has_result)
        {
            ask.has_result = true;
            self.runs[number].calls += 1;
        }
    }

    /// Asserts the invariants of approvals.
    pub(super) fn check_approvals(&self) {
        for ask in &self.asked {
            assert!(
                !(ask.succeeded || ask.started) || ask.may_be_made(),
                "no call is made without its approval: {ask:?}"
            );
            assert!(ask.decisions <= 1, "at most one decision is stored: {ask:?}");
        }
        for (number, run) in self.runs.iter().enumerate().filter(|(_, run)| !run.deleted) {
            let waits = |ask: &Ask| ask.run == number && ask.step + 1 == run.steps && ask.is_undecided();
            assert!(
                run.status != RunStatus::WaitingApproval || self.asked.iter().any(waits),
                "a run that awaits approval has an undecided call: {run:?}"
            );
        }
    }
}
