//! Deferred steps: recorded, decided, started, and given results.

use errand_shared::{
    domain::run::RunStatus,
    storage::{
        journal::{
            approvals::{self, DecisionOutcome},
            pending_calls::{self, CallResult, DeferOutcome, PendingCall},
            steps,
        },
        queue::claims::Lease,
        tasks,
    },
};
use serde_json::json;

use super::{
    execution::stepped,
    harness::{Harness, pick},
    model::{Ask, Deferral},
    schedule::{Fate, Pick},
};

/// Seconds that a call awaits approval. Less than the hour that a schedule may let pass.
const APPROVAL_SECONDS: f64 = 1800.0;

fn id_of(ask: &Ask) -> String {
    format!("call_{}_{}", ask.step, ask.index)
}

impl Harness<'_> {
    pub(super) async fn defer_step(&mut self, number: usize, needs_approval: &[bool], fate: Fate) {
        let lease = &self.leases[number];
        let step = self.next_step(number, false);
        let calls: Vec<_> = (0..)
            .zip(needs_approval)
            .map(|(index, &needs_approval)| PendingCall {
                index,
                tool_call_id: format!("call_{}_{index}", step.step),
                tool_name: "add_task".to_owned(),
                arguments: json!({}),
                refusal: None,
                needs_approval,
                approved: None,
                started: false,
            })
            .collect();
        let mut transaction = self.db.pool().begin().await.unwrap();
        let deferred = pending_calls::defer_step(
            &mut *transaction,
            lease.run_id,
            lease.token,
            &step,
            &calls,
            APPROVAL_SECONDS,
        )
        .await
        .unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        let outcome = match deferred {
            DeferOutcome::Recorded => Deferral::Recorded,
            DeferOutcome::AwaitingApproval(wait) => Deferral::Waiting { epoch: wait.epoch },
            DeferOutcome::CancelRequested => Deferral::CancelRequested,
            DeferOutcome::LeaseLost => Deferral::LeaseLost,
        };
        assert_eq!(outcome, self.model.defer_step(number, needs_approval));
    }

    /// Picks a call of a lease's run. Returns its number in the model.
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
        let started =
            pending_calls::mark_started(self.db.pool(), lease.run_id, lease.token, ask.step, ask.index)
                .await
                .unwrap();
        assert_eq!(started, self.model.start(number, call));
    }

    pub(super) async fn record_result(&mut self, number: usize, call: &Pick, success: bool, fate: Fate) {
        let Some(call) = self.call_of(number, call) else {
            return;
        };
        let (lease, ask) = (&self.leases[number], &self.model.asked[call]);
        let answer = CallResult {
            index: ask.index,
            result: json!({"success": success}),
            success,
        };
        let mut connection = self.db.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
            .await
            .unwrap();
        if success {
            tasks::add(&mut *transaction, lease.user_id, "milk", None)
                .await
                .unwrap();
        }
        let (run_id, token) = (lease.run_id, lease.token);
        let recorded =
            pending_calls::record_results(&mut transaction, run_id, token, ask.step, &[answer], 1).await;
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        let answered = stepped(transaction, recorded, &["tool_calls_pkey"]).await;
        assert_eq!(answered, self.model.record_result(number, call, success));
    }

    pub(super) async fn decide(&mut self, user: usize, call: &Pick, approve: bool, fate: Fate) {
        let Some(call) = pick(call, &(0..self.model.asked.len()).collect::<Vec<_>>()) else {
            return;
        };
        let ask = &self.model.asked[call];
        let (run, user_id) = (self.runs[ask.run], self.users[user]);
        let mut transaction = self.db.pool().begin().await.unwrap();
        let status = approvals::lock(&mut transaction, user_id, run).await.unwrap();
        let decided = match status {
            Some(_) => approvals::decide(&mut transaction, run, &id_of(ask), approve)
                .await
                .unwrap(),
            None => DecisionOutcome::RunNotFound,
        };
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        let was_waiting = status == Some(RunStatus::WaitingApproval);
        let (decided, epoch) = match decided {
            DecisionOutcome::Queued(queued) => (None, Some(queued.epoch)),
            other => (Some(other), None),
        };
        assert!(
            epoch.is_none() || was_waiting,
            "only a run that awaits approval is queued by a decision"
        );
        match self.model.decide(user, call, approve) {
            Ok(expected) => assert_eq!((decided, epoch), (None, Some(expected))),
            Err(expected) => assert_eq!((decided, epoch), (Some(expected), None)),
        }
    }

    /// Compares the pending calls of a claimed run, and their decisions, with the model.
    pub(super) fn compare_pending(&self, lease: &Lease) {
        let pending = |ask: &&Ask| self.runs[ask.run] == lease.run_id && !ask.has_result;
        let expected: Vec<_> = self
            .model
            .asked
            .iter()
            .filter(pending)
            .map(|ask| (ask.step, ask.index, ask.needs_approval, ask.approved, ask.started))
            .collect();
        let found: Vec<_> = lease
            .journal
            .iter()
            .flat_map(|step| step.pending.iter().map(move |call| (step.step, call)))
            .map(|(step, call)| {
                let (needs_approval, approved) = (call.needs_approval, call.approved);
                (step, call.index, needs_approval, approved, call.started)
            })
            .collect();
        assert_eq!(found, expected);
    }
}
