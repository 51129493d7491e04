//! Steps that are journalled before their calls are made: opened, their calls decided, started and answered.

use errand_shared::{
    domain::run::RunStatus,
    storage::{
        journal::{
            approvals::{self, DecisionOutcome},
            pending_calls::{self, Answer, Asked, OpenOutcome},
            steps,
        },
        queue::claims::Lease,
        tasks,
    },
};
use serde_json::json;

use super::{
    model::{Ask, Opening},
    schedule::{Fate, Pick},
    stage::{Stage, pick},
    turns::stepped,
};

/// Seconds for which a call waits for consent; less than the hour that may pass.
const CONSENT: f64 = 1800.0;

fn id_of(ask: &Ask) -> String {
    format!("call_{}_{}", ask.step, ask.index)
}

impl Stage<'_> {
    pub(super) async fn open(&mut self, number: usize, needs_consent: &[bool], fate: Fate) {
        let lease = &self.leases[number];
        let step = self.next_step(number, false);
        let calls: Vec<_> = (0..)
            .zip(needs_consent)
            .map(|(index, &needs_consent)| Asked {
                index,
                tool_call_id: format!("call_{}_{index}", step.step),
                tool_name: "add_task".to_owned(),
                arguments: json!({}),
                refusal: None,
                needs_consent,
            })
            .collect();
        let mut transaction = self.book.pool().begin().await.unwrap();
        let opened = pending_calls::open(
            &mut *transaction,
            lease.run_id,
            lease.token,
            &step,
            &calls,
            CONSENT,
        )
        .await
        .unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        let opening = match opened {
            OpenOutcome::Open => Opening::Open,
            OpenOutcome::Parked(parked) => Opening::Parked { epoch: parked.epoch },
            OpenOutcome::CancelRequested => Opening::CancelRequested,
            OpenOutcome::LeaseLost => Opening::LeaseLost,
        };
        assert_eq!(opening, self.model.open(number, needs_consent));
    }

    /// One of the calls of a lease's run, by its number in the model.
    fn call_of(&self, lease: usize, call: &Pick) -> Option<usize> {
        let run = self.model.leases[lease].0;
        let of_run: Vec<_> = (0..self.model.asked.len())
            .filter(|ask| self.model.asked[*ask].run == run)
            .collect();
        pick(call, &of_run)
    }

    pub(super) async fn start(&mut self, number: usize, call: &Pick) {
        let Some(call) = self.call_of(number, call) else {
            return;
        };
        let (lease, ask) = (&self.leases[number], &self.model.asked[call]);
        let started = pending_calls::start(self.book.pool(), lease.run_id, lease.token, ask.step, ask.index)
            .await
            .unwrap();
        assert_eq!(started, self.model.start(number, call));
    }

    pub(super) async fn answer(&mut self, number: usize, call: &Pick, success: bool, fate: Fate) {
        let Some(call) = self.call_of(number, call) else {
            return;
        };
        let (lease, ask) = (&self.leases[number], &self.model.asked[call]);
        let answer = Answer {
            index: ask.index,
            result: json!({"success": success}),
            success,
        };
        let mut connection = self.book.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
            .await
            .unwrap();
        if success {
            tasks::add(&mut *transaction, lease.user_id, "milk", None)
                .await
                .unwrap();
        }
        let (run_id, token) = (lease.run_id, lease.token);
        let recorded = pending_calls::answer(&mut transaction, run_id, token, ask.step, &[answer], 1).await;
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        let answered = stepped(transaction, recorded, &["tool_calls_pkey"]).await;
        assert_eq!(answered, self.model.answer(number, call, success));
    }

    pub(super) async fn decide(&mut self, user: usize, call: &Pick, approve: bool, fate: Fate) {
        let Some(call) = pick(call, &(0..self.model.asked.len()).collect::<Vec<_>>()) else {
            return;
        };
        let ask = &self.model.asked[call];
        let (run, user_id) = (self.runs[ask.run], self.users[user]);
        let mut transaction = self.book.pool().begin().await.unwrap();
        let status = approvals::lock(&mut transaction, user_id, run).await.unwrap();
        let decided = match status {
            Some(_) => approvals::decide(&mut transaction, run, &id_of(ask), approve)
                .await
                .unwrap(),
            None => DecisionOutcome::NoRun,
        };
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        let was_parked = status == Some(RunStatus::WaitingApproval);
        let (decided, epoch) = match decided {
            DecisionOutcome::Queued(queued) => (None, Some(queued.epoch)),
            other => (Some(other), None),
        };
        assert!(
            epoch.is_none() || was_parked,
            "only a parked run goes on by a decision"
        );
        match self.model.decide(user, call, approve) {
            Ok(expected) => assert_eq!((decided, epoch), (None, Some(expected))),
            Err(expected) => assert_eq!((decided, epoch), (Some(expected), None)),
        }
    }

    /// What is left of a claimed run's steps is what the model has of them, with what its user has said.
    pub(super) fn compare_left(&self, lease: &Lease) {
        let left = |ask: &&Ask| self.runs[ask.run] == lease.run_id && !ask.answered;
        let expected: Vec<_> = self
            .model
            .asked
            .iter()
            .filter(left)
            .map(|ask| (ask.step, ask.index, ask.needs_consent, ask.approved, ask.started))
            .collect();
        let found: Vec<_> = lease
            .journal
            .iter()
            .flat_map(|step| step.asked.iter().map(move |call| (step.step, call)))
            .map(|(step, call)| {
                let (needs_consent, approved) = (call.needs_consent, call.approved);
                (step, call.call_index, needs_consent, approved, call.started)
            })
            .collect();
        assert_eq!(found, expected);
    }
}
