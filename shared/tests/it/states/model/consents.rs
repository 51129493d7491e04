//! What becomes of steps that are journalled before their calls are made, and of what users say to them.

use errand_shared::{domain::run::RunStatus, storage::journal::approvals::DecisionOutcome};

use super::{Model, Stepped, Time};

/// A call that is journalled before it is made.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the row holds times in their place")]
pub(crate) struct Ask {
    pub(crate) run: usize,
    pub(crate) step: i16,
    pub(crate) index: i16,
    pub(crate) needs_consent: bool,
    pub(crate) approved: Option<bool>,
    pub(crate) started: bool,
    pub(crate) answered: bool,
    /// Whether it is answered with an effect.
    made: bool,
    /// Whether its time for consent is over.
    over: bool,
    /// How many decisions about it were stored.
    decisions: u8,
}

/// What became of a step that was to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Open,
    Parked { epoch: i32 },
    CancelRequested,
    LeaseLost,
}

impl Ask {
    const fn may_be_made(&self) -> bool {
        !self.needs_consent || matches!(self.approved, Some(true))
    }

    const fn is_undecided(&self) -> bool {
        self.needs_consent && self.approved.is_none()
    }
}

impl Model {
    /// A step with calls, none of them made; with one that needs consent the run is parked.
    pub(crate) fn open(&mut self, lease: usize, needs_consent: &[bool]) -> Opening {
        let number = self.leases[lease].0;
        let Some(run) = self.held(lease) else {
            return Opening::LeaseLost;
        };
        if run.cancel {
            return Opening::CancelRequested;
        }
        let step = run.steps;
        run.steps += 1;
        let parks = needs_consent.contains(&true);
        if parks {
            run.status = RunStatus::WaitingApproval;
            run.lease = None;
            run.worker = None;
            run.abandoned = false;
            run.time = Time::Stands;
            run.parked_over = false;
            run.epoch += 1;
        }
        let epoch = run.epoch;
        self.asked
            .extend((0..).zip(needs_consent).map(|(index, &needs_consent)| Ask {
                run: number,
                step,
                index,
                needs_consent,
                approved: None,
                started: false,
                answered: false,
                made: false,
                over: false,
                decisions: 0,
            }));
        if parks {
            Opening::Parked { epoch }
        } else {
            Opening::Open
        }
    }

    /// A call is about to be made elsewhere; none if it must not be.
    pub(crate) fn start(&mut self, lease: usize, call: usize) -> Option<bool> {
        let cancel = self.held(lease)?.cancel;
        let ask = &mut self.asked[call];
        if !ask.may_be_made() {
            return None;
        }
        ask.started = true;
        Some(cancel)
    }

    /// A call has its result. A success without consent is as good as a lost lease.
    pub(crate) fn answer(&mut self, lease: usize, call: usize, success: bool) -> Stepped {
        let ask = &self.asked[call];
        let (allowed, answered) = (!success || ask.may_be_made(), ask.answered);
        let Some(run) = self.held(lease) else {
            return Stepped::LeaseLost;
        };
        if !allowed {
            return Stepped::LeaseLost;
        }
        if answered {
            return Stepped::Twice;
        }
        run.calls += 1;
        run.made += i64::from(success);
        let cancel_requested = run.cancel;
        let ask = &mut self.asked[call];
        (ask.answered, ask.made) = (true, success);
        Stepped::Written { cancel_requested }
    }

    /// The epoch in which the run waits, if the decision was the last of its step; else what became of it.
    pub(crate) fn decide(&mut self, user: usize, call: usize, approve: bool) -> Result<i32, DecisionOutcome> {
        let ask = &self.asked[call];
        let (number, step) = (ask.run, ask.step);
        let run = &self.runs[number];
        if run.gone || run.user != user {
            return Err(DecisionOutcome::NoRun);
        }
        if !ask.needs_consent {
            return Err(DecisionOutcome::NoCall);
        }
        match ask.approved {
            Some(before) if before == approve => return Err(DecisionOutcome::Already),
            Some(_) => return Err(DecisionOutcome::Otherwise),
            None => {}
        }
        // A parked run waits for its last step.
        if run.status != RunStatus::WaitingApproval || ask.over || step + 1 != run.steps {
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
        run.queue_again();
        Ok(run.epoch)
    }

    /// An hour passes, if the run is parked: its time for consent is over, and its deadline is as far away as before.
    pub(crate) fn hour_passes(&mut self, number: usize) -> bool {
        let run = &mut self.runs[number];
        let is_parked = !run.gone && run.status == RunStatus::WaitingApproval;
        if is_parked {
            run.parked_over = true;
            for ask in self.asked.iter_mut().filter(|ask| ask.run == number) {
                ask.over = true;
            }
        }
        is_parked
    }

    /// Queues parked runs again whose time for consent is over.
    pub(crate) fn expire(&mut self) -> Vec<usize> {
        let mut expired = Vec::new();
        for (number, run) in self.runs.iter_mut().enumerate() {
            if !run.gone && run.status == RunStatus::WaitingApproval && run.parked_over {
                run.queue_again();
                expired.push(number);
            }
        }
        expired
    }

    /// Its worker answers what is left of the lease's run, which is about to end without a reply.
    pub(crate) fn close_left(&mut self, lease: usize) {
        if self.held(lease).is_some() {
            self.close(self.leases[lease].0);
        }
    }

    /// Answers what is left of a run's steps.
    pub(super) fn close(&mut self, number: usize) {
        for ask in self
            .asked
            .iter_mut()
            .filter(|ask| ask.run == number && !ask.answered)
        {
            ask.answered = true;
            self.runs[number].calls += 1;
        }
    }

    /// What must hold of consents after whatever has happened.
    pub(super) fn check_consents(&self) {
        for ask in &self.asked {
            assert!(
                !(ask.made || ask.started) || ask.may_be_made(),
                "no call without consent is made: {ask:?}"
            );
            assert!(ask.decisions <= 1, "a decision counts once: {ask:?}");
        }
        for (number, run) in self.runs.iter().enumerate().filter(|(_, run)| !run.gone) {
            let waits = |ask: &Ask| ask.run == number && ask.step + 1 == run.steps && ask.is_undecided();
            assert!(
                run.status != RunStatus::WaitingApproval || self.asked.iter().any(waits),
                "a parked run waits for something: {run:?}"
            );
        }
    }
}
