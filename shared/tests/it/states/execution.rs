//! Executing a run: post, claim, steps, finish. Each process may die before or after its commit.

use errand_shared::{
    Uuid,
    domain::{chat::Usage, events::final_seq, run::RunStatus},
    storage::{
        journal::{
            pending_calls::{self, EndingRun},
            steps::{self, RecordOutcome, RecordedCall, StepRecord},
        },
        queue::{
            claims,
            posts::{self, PostOutcome},
        },
        runs::finish::{self, Ending, Finish},
        tasks, violates,
    },
};
use serde_json::json;
use sqlx::{Postgres, Transaction};

use super::{
    harness::{Harness, pick},
    model::{MAX_OPEN, Stepped, TOKENS_PER_STEP},
    schedule::{Fate, Pick},
};
use crate::test_db::{NO_LIMITS, first_post};

impl Harness<'_> {
    pub(super) async fn post(&mut self, user: usize, place: Option<&Pick>, key: Option<u8>, fate: Fate) {
        let places: Vec<_> = (0..self.conversations.len()).collect();
        let place = place.and_then(|place| pick(place, &places));
        let mut post = first_post(self.users[user], "hi");
        if let Some(place) = place {
            post.conversation_id = self.conversations[place];
            post.new_conversation = false;
        }
        post.key = key.map(|key| (key.to_string(), [key; 32]));
        let mut transaction = self.db.pool().begin().await.unwrap();
        let batch = std::slice::from_ref(&post);
        let posted = posts::store_batch(&mut *transaction, batch, MAX_OPEN.try_into().unwrap())
            .await
            .unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        assert_eq!(posted, [self.model.post(user, place, key)]);
        if posted == [PostOutcome::Stored] {
            self.runs.push(post.run_id);
            self.conversations
                .extend(post.new_conversation.then_some(post.conversation_id));
        }
    }

    pub(super) async fn claim(&mut self, worker: usize, picks: &[Pick], fate: Fate) {
        let picks: Vec<_> = picks.iter().filter_map(|pick| self.any_run(pick)).collect();
        let ids: Vec<_> = picks.iter().map(|run| self.runs[*run]).collect();
        let mut transaction = self.db.pool().begin().await.unwrap();
        let mut leases = claims::claim(&mut *transaction, self.workers[worker], &ids, NO_LIMITS)
            .await
            .unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        leases.sort_by_key(|lease| lease.run_id);
        let claimed = self.model.claim(worker, &picks);
        assert_eq!(
            leases.iter().map(|lease| lease.run_id).collect::<Vec<_>>(),
            self.ids(claimed)
        );
        for lease in leases {
            let run = &self.model.runs[self.model.leases[self.leases.len()].0];
            assert_eq!(
                (lease.attempt, lease.failures, lease.epoch, lease.cancel_requested),
                (run.attempt, run.failures, run.epoch, run.cancel)
            );
            // The journal contains exactly the committed steps.
            assert_eq!(lease.journal.len(), usize::try_from(run.steps).unwrap());
            let calls: usize = lease.journal.iter().map(|step| step.calls.len()).sum();
            assert_eq!(i64::try_from(calls).unwrap(), run.calls);
            self.compare_pending(&lease);
            if fate == Fate::Lives {
                self.known.push(self.leases.len());
            }
            self.leases.push(lease);
        }
    }

    /// The next step of this lease's run, or with `again` its last step a second time.
    pub(super) fn next_step(&self, lease: usize, again: bool) -> StepRecord {
        let run = &self.model.runs[self.model.leases[lease].0];
        StepRecord {
            step: if again { (run.steps - 1).max(0) } else { run.steps },
            attempt: self.leases[lease].attempt,
            model: "m".to_owned(),
            content: String::new(),
            usage: Usage::new(TOKENS_PER_STEP, 0),
            model_ms: 1,
            tools_ms: 1,
            provider_data: (run.steps % 2 == 1).then(|| json!({"source": "host/model"})),
        }
    }

    pub(super) async fn step(&mut self, number: usize, made: u8, again: bool, fate: Fate) {
        let lease = &self.leases[number];
        let step = self.next_step(number, again);
        let call = RecordedCall {
            tool_call_id: "c".to_owned(),
            tool_name: "add_task".to_owned(),
            arguments: json!({}),
            result: json!({}),
            success: true,
        };
        let calls = vec![call; usize::from(made)];
        let mut connection = self.db.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
            .await
            .unwrap();
        for _ in &calls {
            tasks::add(&mut *transaction, lease.user_id, "milk", None)
                .await
                .unwrap();
        }
        let recorded = steps::record(&mut transaction, lease.run_id, lease.token, &step, &calls).await;
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        let stepped = stepped(transaction, recorded, &["steps_pkey", "tool_calls_pkey"]).await;
        assert_eq!(stepped, self.model.step(number, made, again));
    }

    pub(super) async fn finish(&mut self, number: usize, status: RunStatus, last_step: bool, fate: Fate) {
        let lease = &self.leases[number];
        let ending = if status == RunStatus::Succeeded {
            Ending::Succeeded {
                message_id: Uuid::now_v7(),
                content: "Hello!".to_owned(),
                tool_calls: json!([]),
            }
        } else {
            failed()
        };
        let finish = Finish {
            run_id: lease.run_id,
            token: Some(lease.token),
            final_event_seq: final_seq(lease.epoch),
            ending,
            last_step: last_step.then(|| self.next_step(number, false)),
        };
        if status != RunStatus::Succeeded {
            // In its own transaction, so that a worker may die between the two.
            pending_calls::settle(self.db.pool(), &[EndingRun::from(&finish)])
                .await
                .unwrap();
            self.model.settle_pending(number);
        }
        let mut transaction = self.db.pool().begin().await.unwrap();
        let ended = finish::finish_batch(&mut *transaction, &[finish]).await.unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        assert_eq!(!ended.is_empty(), self.model.finish(number, status, last_step));
    }
}

/// Commits a recorded step. Rolls back if the lease is lost or one of these unique keys is violated.
pub(super) async fn stepped(
    transaction: Transaction<'_, Postgres>,
    recorded: Result<RecordOutcome, sqlx::Error>,
    keys: &[&str],
) -> Stepped {
    match recorded {
        Ok(RecordOutcome::Written { cancel_requested }) => {
            transaction.commit().await.unwrap();
            Stepped::Written { cancel_requested }
        }
        Ok(RecordOutcome::LeaseLost) => {
            transaction.rollback().await.unwrap();
            Stepped::LeaseLost
        }
        Err(error) => {
            assert!(keys.iter().any(|key| violates(&error, key)), "{error}");
            transaction.rollback().await.unwrap();
            Stepped::Duplicate
        }
    }
}

pub(super) fn failed() -> Ending {
    Ending::Failed {
        reason: "it failed".to_owned(),
        error: "it failed".to_owned(),
    }
}
