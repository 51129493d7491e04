//! Random schedules of everything that anybody may do to a run, crashes, repeats and late comers included: after each
//! action the rows are what the model of docs/run-states.md says.

mod model;
mod schedule;

use errand_shared::{
    Uuid,
    chat::Usage,
    db::{
        claims::{self, Lease},
        conversations,
        finishes::{self, Ending, Finish},
        posts::{self, Posted},
        rescue::{self, Stray},
        runs::{self, CancelTarget, Retried},
        steps::{self, CallRecord, Recorded, StepRecord},
        tasks, workers,
    },
    events::final_seq,
    run::RunStatus,
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};
use serde_json::json;

use self::{
    model::{MAX_OPEN, MAX_RESCUES, Model, Run, Seen, Stepped, TOKENS_A_STEP},
    schedule::{Action, Fate, Pick, USERS, WORKERS, action},
};
use crate::book::{Book, WIDE, opening};

/// Seconds of silence after which a worker counts as dead; nothing here takes as long.
const DEAD_AFTER: f64 = 1800.0;

/// The model beside the rows, and how the one's numbers are called in the other.
struct Stage<'a> {
    book: &'a Book,
    model: Model,
    users: [Uuid; USERS],
    workers: [Uuid; WORKERS],
    silent: [bool; WORKERS],
    conversations: Vec<Uuid>,
    runs: Vec<Uuid>,
    leases: Vec<Lease>,
    /// Leases that somebody knows of, by number.
    known: Vec<usize>,
    /// What rescuers saw last: of silent workers, past the deadline.
    strays: [Vec<(Seen, Stray)>; 2],
    /// What the API saw when it marked runs, with their numbers.
    targets: Vec<(usize, CancelTarget)>,
}

fn pick<T: Clone>(pick: &Pick, among: &[T]) -> Option<T> {
    match pick {
        Some(index) if !among.is_empty() => Some(index.get(among).clone()),
        _ => among.last().cloned(),
    }
}

impl<'a> Stage<'a> {
    async fn set(book: &'a Book) -> Self {
        for table in ["users", "workers"] {
            book.database
                .execute(&format!("DELETE FROM {table}"))
                .await
                .unwrap();
        }
        let stage = Self {
            book,
            model: Model::default(),
            users: [book.user("Ada").await, book.user("Bob").await],
            workers: std::array::from_fn(|_| Uuid::now_v7()),
            silent: [false; WORKERS],
            conversations: Vec::new(),
            runs: Vec::new(),
            leases: Vec::new(),
            known: Vec::new(),
            strays: [Vec::new(), Vec::new()],
            targets: Vec::new(),
        };
        for worker in 0..WORKERS {
            stage.beat(worker).await;
        }
        stage
    }

    async fn beat(&self, worker: usize) {
        let row = workers::WorkerRow {
            id: self.workers[worker],
            host: "h".to_owned(),
            version: "1".to_owned(),
            concurrency: 1,
        };
        workers::beat(self.book.pool(), &row, 0).await.unwrap();
    }

    async fn execute(&self, statement: String) {
        self.book.database.execute(&statement).await.unwrap();
    }

    fn any_run(&self, index: &Pick) -> Option<usize> {
        pick(index, &(0..self.runs.len()).collect::<Vec<_>>())
    }

    #[expect(clippy::too_many_lines, reason = "one action, one arm")]
    async fn act(&mut self, action: &Action) {
        let pool = self.book.pool();
        match action {
            Action::Post {
                user,
                place,
                key,
                fate,
            } => self.post(*user, place.as_ref(), *key, *fate).await,
            Action::Claim { worker, hints, fate } => self.claim(*worker, hints, *fate).await,
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
            Action::Vanish { worker } => {
                self.model.vanish(*worker);
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
            Action::Beat { worker } => {
                self.silent[*worker] = false;
                self.beat(*worker).await;
            }
            Action::Look => self.look().await,
            Action::Settle => self.settle().await,
            Action::RequestCancel { user, run } => {
                if let Some(number) = self.any_run(run) {
                    let target = runs::request_cancel(pool, self.users[*user], self.runs[number])
                        .await
                        .unwrap();
                    let seen = target.as_ref().map(|target| (target.status, target.epoch));
                    assert_eq!(seen, self.model.request_cancel(*user, number));
                    let queued = target.filter(|target| target.status == RunStatus::Queued);
                    self.targets.extend(queued.map(|target| (number, target)));
                }
            }
            Action::EndQueued { target } => {
                if let Some((number, target)) = pick(target, &self.targets) {
                    let finish = Finish {
                        run_id: target.run_id,
                        token: None,
                        final_event_seq: final_seq(target.epoch + 1),
                        ending: Ending::Cancelled,
                        last_step: None,
                    };
                    let ended = self.book.finish(&finish).await.is_some();
                    assert_eq!(ended, self.model.end_queued(number, target.epoch));
                }
            }
            Action::Retry { user, run } => {
                if let Some(number) = self.any_run(run) {
                    let retried = runs::retry(pool, self.users[*user], self.runs[number])
                        .await
                        .unwrap();
                    let retried = match retried {
                        Retried::Queued(run) => Ok(run.epoch),
                        refused => Err(refused),
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

    async fn post(&mut self, user: usize, place: Option<&Pick>, key: Option<u8>, fate: Fate) {
        let places: Vec<_> = (0..self.conversations.len()).collect();
        let place = place.and_then(|place| pick(place, &places));
        let mut post = opening(self.users[user], "hi");
        if let Some(place) = place {
            post.conversation_id = self.conversations[place];
            post.new_conversation = false;
        }
        post.key = key.map(|key| (key.to_string(), [key; 32]));
        let mut transaction = self.book.pool().begin().await.unwrap();
        let batch = std::slice::from_ref(&post);
        let posted = posts::store(&mut *transaction, batch, MAX_OPEN.try_into().unwrap())
            .await
            .unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        assert_eq!(posted, [self.model.post(user, place, key)]);
        if posted == [Posted::Stored] {
            self.runs.push(post.run_id);
            self.conversations
                .extend(post.new_conversation.then_some(post.conversation_id));
        }
    }

    async fn claim(&mut self, worker: usize, hints: &[Pick], fate: Fate) {
        let hints: Vec<_> = hints.iter().filter_map(|hint| self.any_run(hint)).collect();
        let ids: Vec<_> = hints.iter().map(|run| self.runs[*run]).collect();
        let mut transaction = self.book.pool().begin().await.unwrap();
        let mut leases = claims::claim(&mut *transaction, self.workers[worker], &ids, WIDE)
            .await
            .unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        leases.sort_by_key(|lease| lease.run_id);
        let claimed = self.model.claim(worker, &hints);
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
            // The journal is what was committed, no less and no more.
            assert_eq!(lease.journal.len(), usize::try_from(run.steps).unwrap());
            let calls: usize = lease.journal.iter().map(|step| step.calls.len()).sum();
            assert_eq!(i64::try_from(calls).unwrap(), run.calls);
            if fate == Fate::Lives {
                self.known.push(self.leases.len());
            }
            self.leases.push(lease);
        }
    }

    /// A step as the worker of this lease would make it: the journal's next, or its last once more.
    fn next_step(&self, lease: usize, again: bool) -> StepRecord {
        let run = &self.model.runs[self.model.leases[lease].0];
        StepRecord {
            step: if again { (run.steps - 1).max(0) } else { run.steps },
            attempt: self.leases[lease].attempt,
            model: "m".to_owned(),
            content: String::new(),
            usage: Usage::new(TOKENS_A_STEP, 0),
            model_ms: 1,
            tools_ms: 1,
        }
    }

    async fn step(&mut self, number: usize, made: u8, again: bool, fate: Fate) {
        let lease = &self.leases[number];
        let step = self.next_step(number, again);
        let call = CallRecord {
            tool_call_id: "c".to_owned(),
            tool_name: "add_task".to_owned(),
            arguments: json!({}),
            result: json!({}),
            success: true,
        };
        let calls = vec![call; usize::from(made)];
        let mut connection = self.book.pool().acquire().await.unwrap();
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
        let stepped = match recorded {
            Ok(Recorded::Written { cancel_requested }) => {
                transaction.commit().await.unwrap();
                Stepped::Written { cancel_requested }
            }
            Ok(Recorded::LeaseLost) => {
                transaction.rollback().await.unwrap();
                Stepped::LeaseLost
            }
            Err(error) => {
                let twice = ["steps_pkey", "tool_calls_pkey"];
                assert!(
                    twice.iter().any(|key| errand_shared::db::violates(&error, key)),
                    "{error}"
                );
                transaction.rollback().await.unwrap();
                Stepped::Twice
            }
        };
        assert_eq!(stepped, self.model.step(number, made, again));
    }

    async fn finish(&mut self, number: usize, status: RunStatus, last_step: bool, fate: Fate) {
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
        let mut transaction = self.book.pool().begin().await.unwrap();
        let ended = finishes::finish(&mut *transaction, &[finish]).await.unwrap();
        if fate == Fate::DiesBefore {
            return transaction.rollback().await.unwrap();
        }
        transaction.commit().await.unwrap();
        assert_eq!(!ended.is_empty(), self.model.finish(number, status, last_step));
    }

    async fn look(&mut self) {
        let pool = self.book.pool();
        let (abandoned, late) = self.model.look(&self.silent);
        let found = [
            (
                abandoned,
                rescue::find_orphans(pool, DEAD_AFTER, 1000).await.unwrap(),
            ),
            (late, rescue::find_overdue(pool, 0.0, 1000).await.unwrap()),
        ];
        self.strays = found.map(|(seen, mut strays)| {
            strays.sort_by_key(|stray| stray.run_id);
            let ids: Vec<_> = strays.iter().map(|stray| stray.run_id).collect();
            assert_eq!(ids, self.ids(seen.iter().map(|seen| seen.run)));
            seen.into_iter().zip(strays).collect()
        });
    }

    async fn settle(&mut self) {
        for strays in self.strays.clone() {
            let (mut ends, mut again) = (Vec::new(), (Vec::new(), Vec::new()));
            for (_, stray) in &strays {
                let ending = if stray.cancel_requested {
                    Ending::Cancelled
                } else if stray.overdue || stray.rescues + 1 >= MAX_RESCUES {
                    failed()
                } else {
                    again.0.push(stray.run_id);
                    again.1.push(stray.token);
                    continue;
                };
                ends.push(Finish {
                    run_id: stray.run_id,
                    token: Some(stray.token),
                    final_event_seq: final_seq(stray.epoch + 1),
                    ending,
                    last_step: None,
                });
            }
            rescue::requeue(self.book.pool(), &again.0, &again.1)
                .await
                .unwrap();
            finishes::finish(self.book.pool(), &ends).await.unwrap();
            for (seen, _) in strays {
                self.model.settle(seen);
            }
        }
    }

    /// The ids of runs, which were made in the order of their numbers.
    fn ids(&self, runs: impl IntoIterator<Item = usize>) -> Vec<Uuid> {
        runs.into_iter().map(|run| self.runs[run]).collect()
    }

    async fn compare(&self) {
        self.model.check();
        let mut expected: Vec<_> = (0..self.runs.len())
            .filter(|run| !self.model.runs[*run].gone)
            .map(|run| self.row(run))
            .collect();
        for (number, conversation) in self.model.conversations.iter().enumerate() {
            if !conversation.gone {
                let id = self.conversations[number];
                expected.push(format!("conversation {id} {}", conversation.last_seq));
                expected.extend(
                    conversation
                        .messages
                        .iter()
                        .map(|(seq, run, role)| format!("message {id} {seq} {} {role}", self.runs[*run])),
                );
            }
        }
        for (number, user) in self.users.iter().enumerate() {
            // What a deleted run's tools have done stays done.
            let made: i64 = self
                .model
                .runs
                .iter()
                .filter(|run| run.user == number)
                .map(|run| run.calls)
                .sum();
            expected.push(format!("tasks {user} {made}"));
        }
        expected.sort();
        assert_eq!(self.book.database.texts(ROWS).await, expected);
        let mut ready = crate::book::ready(self.book.pool(), 1000).await;
        ready.sort();
        let expected = (0..self.runs.len()).filter(|run| self.model.is_ready(*run));
        assert_eq!(ready, self.ids(expected), "what is ready");
    }

    fn row(&self, number: usize) -> String {
        let Run {
            status,
            attempt,
            failures,
            rescues,
            epoch,
            seq,
            steps,
            calls,
            tokens,
            ..
        } = &self.model.runs[number];
        let run = &self.model.runs[number];
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        format!(
            "run {} {} {seq} {attempt} {failures} {rescues} {epoch} {} {} {} {} {steps} {calls} {tokens}",
            self.runs[number],
            status.as_str(),
            or_none(run.lease.map(|lease| self.leases[lease].token.to_string())),
            or_none(run.worker.map(|worker| self.workers[worker].to_string())),
            or_none(run.final_seq.map(|seq| seq.to_string())),
            if run.cancel { "t" } else { "f" },
        )
    }
}

fn failed() -> Ending {
    Ending::Failed {
        reason: "it failed".to_owned(),
        error: "it failed".to_owned(),
    }
}

/// All that the model knows of, as text.
const ROWS: &str = r#"
    SELECT line COLLATE "C" FROM (
        SELECT concat_ws(' ', 'run', id, status, seq, attempt, failures, rescues, epoch,
            coalesce(lease_token::text, '-'), coalesce(worker_id::text, '-'), coalesce(final_event_seq::text, '-'),
            cancel_requested_at IS NOT NULL, (SELECT count(*) FROM steps s WHERE s.run_id = r.id),
            (SELECT count(*) FROM tool_calls k WHERE k.run_id = r.id), prompt_tokens) AS line
        FROM runs r
        UNION ALL SELECT concat_ws(' ', 'conversation', id, last_seq) FROM conversations
        UNION ALL SELECT concat_ws(' ', 'message', conversation_id, seq, run_id, role) FROM messages
        UNION ALL SELECT concat_ws(' ', 'tasks', id, (SELECT count(*) FROM tasks t WHERE t.user_id = u.id)) FROM users u
    ) rows ORDER BY 1
"#;

#[test]
fn the_rows_are_what_the_model_of_the_states_says_after_every_action_of_every_schedule() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let book = runtime.block_on(Book::new());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        max_shrink_iters: 1000,
        source_file: Some(file!()),
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&vec(action(), 1..60), |schedule| {
        runtime.block_on(async {
            let mut stage = Stage::set(&book).await;
            for action in &schedule {
                stage.act(action).await;
                stage.compare().await;
            }
        });
        Ok(())
    });
    if let Err(TestError::Fail(why, schedule)) = &outcome {
        panic!("{why}\nafter {schedule:#?}\n{runner}");
    }
    outcome.unwrap();
    runtime.block_on(book.close());
}
