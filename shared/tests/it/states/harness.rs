//! The harness: executes every action on the database and on the model.

use errand_shared::{
    Uuid,
    domain::{events::final_seq, run::RunStatus},
    storage::{
        conversations,
        queue::{
            claims::{self, Lease},
            rescue::StuckRun,
            workers,
        },
        runs::{
            self, CancelTarget, RetryOutcome,
            finish::{Ending, Finish},
        },
    },
};

use super::{
    model::{Model, Seen},
    schedule::{Action, Pick, USERS, WORKERS},
};
use crate::test_db::TestDb;

/// The database and the model, with the ids of the model's numbers.
pub(super) struct Harness<'a> {
    pub(super) db: &'a TestDb,
    pub(super) model: Model,
    pub(super) users: [Uuid; USERS],
    pub(super) workers: [Uuid; WORKERS],
    pub(super) silent: [bool; WORKERS],
    pub(super) conversations: Vec<Uuid>,
    pub(super) runs: Vec<Uuid>,
    pub(super) leases: Vec<Lease>,
    /// Leases that a worker knows, by number.
    pub(super) known: Vec<usize>,
    /// The runs that the rescuer found last: of silent workers, and past their deadline.
    pub(super) stuck: [Vec<(Seen, StuckRun)>; 2],
    /// The runs whose cancellation the API requested, as it saw them, with their numbers.
    pub(super) targets: Vec<(usize, CancelTarget)>,
}

pub(super) fn pick<T: Clone>(pick: &Pick, among: &[T]) -> Option<T> {
    match pick {
        Some(index) if !among.is_empty() => Some(index.get(among).clone()),
        _ => among.last().cloned(),
    }
}

impl<'a> Harness<'a> {
    pub(super) async fn new(db: &'a TestDb) -> Self {
        for table in ["users", "workers"] {
            db.database
                .execute(&format!("DELETE FROM {table}"))
                .await
                .unwrap();
        }
        let harness = Self {
            db,
            model: Model::default(),
            users: [db.user("Ada").await, db.user("Bob").await],
            workers: std::array::from_fn(|_| Uuid::now_v7()),
            silent: [false; WORKERS],
            conversations: Vec::new(),
            runs: Vec::new(),
            leases: Vec::new(),
            known: Vec::new(),
            stuck: [Vec::new(), Vec::new()],
            targets: Vec::new(),
        };
        for worker in 0..WORKERS {
            harness.heartbeat(worker).await;
        }
        harness
    }

    async fn heartbeat(&self, worker: usize) {
        let row = workers::WorkerRow {
            id: self.workers[worker],
            host: "h".to_owned(),
            version: "1".to_owned(),
            concurrency: 1,
        };
        workers::heartbeat(self.db.pool(), &row, 0).await.unwrap();
    }

    pub(super) async fn execute(&self, statement: String) {
        self.db.database.execute(&statement).await.unwrap();
    }

    pub(super) fn any_run(&self, index: &Pick) -> Option<usize> {
        pick(index, &(0..self.runs.len()).collect::<Vec<_>>())
    }

    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    pub(super) async fn act(&mut self, action: &Action) {
        let pool = self.db.pool();
        match action {
            Action::Post {
                user,
                place,
                key,
                fate,
            } => self.post(*user, place.as_ref(), *key, *fate).await,
            Action::Claim { worker, picks, fate } => self.claim(*worker, picks, *fate).await,
            Action::Step {
                lease,
                calls,
                again,
                fate,
            } => {
                if let Some(lease) = pick(lease, &self.known) {
                    self.step(lease, *calls, *again, *fate).await;
                }
            }
            Action::Defer {
                lease,
                needs_approval,
                fate,
            } => {
                if let Some(lease) = pick(lease, &self.known) {
                    self.defer_step(lease, needs_approval, *fate).await;
                }
            }
            Action::Start { lease, call } => {
                if let Some(lease) = pick(lease, &self.known) {
                    self.start(lease, call).await;
                }
            }
            Action::RecordResult {
                lease,
                call,
                success,
                fate,
            } => {
                if let Some(lease) = pick(lease, &self.known) {
                    self.record_result(lease, call, *success, *fate).await;
                }
            }
            Action::Decide {
                user,
                call,
                approve,
                fate,
            } => self.decide(*user, call, *approve, *fate).await,
            Action::Expire => self.expire().await,
            Action::HourPasses { run } => {
                if let Some(number) = self.any_run(run)
                    && self.model.hour_passes(number)
                {
                    let id = self.runs[number];
                    self.execute(format!(
                        "UPDATE runs SET parked_until = parked_until - interval '1 hour',
                            deadline_at = deadline_at - interval '1 hour' WHERE id = '{id}'"
                    ))
                    .await;
                    self.execute(format!(
                        "UPDATE asked_calls SET expires_at = expires_at - interval '1 hour' WHERE run_id = '{id}'"
                    ))
                    .await;
                }
            }
            Action::Finish {
                lease,
                status,
                last_step,
                fate,
            } => {
                if let Some(lease) = pick(lease, &self.known) {
                    self.finish(lease, *status, *last_step, *fate).await;
                }
            }
            Action::Release { lease, fault } => {
                if let Some(number) = pick(lease, &self.known) {
                    let lease = &self.leases[number];
                    let (error, delay) = if *fault {
                        (Some("a fault"), 3600.0)
                    } else {
                        (None, 0.0)
                    };
                    let released = claims::release(pool, lease.run_id, lease.token, error, delay)
                        .await
                        .unwrap();
                    assert_eq!(released.map(|run| run.epoch), self.model.release(number, *fault));
                }
            }
            Action::ReleaseAll { worker } => {
                let released = workers::release_all(pool, self.workers[*worker]).await.unwrap();
                let mut released: Vec<_> = released.into_iter().map(|run| run.run_id).collect();
                released.sort();
                let expected = self.model.release_all(*worker);
                assert_eq!(released, self.ids(expected));
            }
            Action::FallSilent { worker } => {
                self.model.fall_silent(*worker);
                self.silent[*worker] = true;
                let id = self.workers[*worker];
                self.execute(format!(
                    "UPDATE workers SET heartbeat_at = now() - interval '1 hour' WHERE id = '{id}'"
                ))
                .await;
                self.execute(format!(
                    "UPDATE runs SET claimed_at = now() - interval '1 hour' WHERE worker_id = '{id}' AND status = 'running'"
                ))
                .await;
            }
            Action::Heartbeat { worker } => {
                self.silent[*worker] = false;
                self.heartbeat(*worker).await;
            }
            Action::FindStuckRuns => self.find_stuck_runs().await,
            Action::Rescue => self.rescue().await,
            Action::RequestCancel { user, run } => {
                if let Some(number) = self.any_run(run) {
                    let target = runs::request_cancel(pool, self.users[*user], self.runs[number])
                        .await
                        .unwrap();
                    let seen = target.as_ref().map(|target| (target.status, target.epoch));
                    assert_eq!(seen, self.model.request_cancel(*user, number));
                    let unclaimed = target.filter(|target| {
                        matches!(target.status, RunStatus::Queued | RunStatus::WaitingApproval)
                    });
                    self.targets.extend(unclaimed.map(|target| (number, target)));
                }
            }
            Action::FinishUnclaimed { target } => {
                if let Some((number, target)) = pick(target, &self.targets) {
                    let finish = Finish {
                        run_id: target.run_id,
                        token: None,
                        final_event_seq: final_seq(target.epoch + 1),
                        ending: Ending::Cancelled,
                        last_step: None,
                    };
                    let finished = self.finish_unclaimed(&[finish]).await == 1;
                    assert_eq!(finished, self.model.finish_unclaimed(number, target.epoch));
                }
            }
            Action::Retry { user, run } => {
                if let Some(number) = self.any_run(run) {
                    let retried = runs::retry(pool, self.users[*user], self.runs[number])
                        .await
                        .unwrap();
                    let retried = match retried {
                        RetryOutcome::Queued(run) => Ok(run.epoch),
                        rejected => Err(rejected),
                    };
                    assert_eq!(retried, self.model.retry(*user, number));
                }
            }
            Action::Delete { user, conversation } => {
                if let Some(number) = pick(conversation, &(0..self.conversations.len()).collect::<Vec<_>>()) {
                    let deleted = conversations::delete(pool, self.users[*user], self.conversations[number]);
                    assert_eq!(deleted.await.unwrap(), self.model.delete(*user, number));
                }
            }
            Action::BackOffEnds { run } => {
                if let Some(number) = self.any_run(run) {
                    self.model.runs[number].due = true;
                    self.execute(format!(
                        "UPDATE runs SET available_at = now() WHERE id = '{}'",
                        self.runs[number]
                    ))
                    .await;
                }
            }
            Action::DeadlineEnds { run } => {
                if let Some(number) = self.any_run(run)
                    && self.model.runs[number].status == RunStatus::Running
                {
                    self.model.runs[number].late = true;
                    let id = self.runs[number];
                    self.execute(format!(
                        "UPDATE runs SET deadline_at = now() - interval '1 hour' WHERE id = '{id}'"
                    ))
                    .await;
                }
            }
        }
    }

    /// The ids of runs. They are created in the order of their numbers.
    pub(super) fn ids(&self, runs: impl IntoIterator<Item = usize>) -> Vec<Uuid> {
        runs.into_iter().map(|run| self.runs[run]).collect()
    }
}
