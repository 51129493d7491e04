//! A valid database that contains every kind of run, and statements that break it.

use errand_shared::{
    Uuid,
    storage::{
        audit::{AuditLimits, Check, Found},
        journal::steps::{self, RecordOutcome, RecordedCall, StepRecord},
        queue::{
            posts::Post,
            workers::{self, WorkerRow},
        },
        runs::finish::{Ending, Finish},
        tasks,
    },
};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::test_db::{TestDb, first_post, next_post, reply_to, step};

const LIMITS: AuditLimits = AuditLimits {
    rescue_seconds: 10.0,
    alive_seconds: 6.0,
    queued_seconds: 60.0,
    offenders: 3,
};

/// A conversation with a run that added a task, one that added and deleted another, one that failed, and one that is
/// running; and a conversation with a queued run and a run that was cancelled while queued.
pub(super) struct Sample {
    pub(super) db: TestDb,
    pub(super) user: Uuid,
    pub(super) conversation: Uuid,
    /// The run that added task 1.
    pub(super) added: Uuid,
    /// The run that added and deleted task 2, with its user's approval.
    pub(super) deleted: Uuid,
    pub(super) failed: Uuid,
    pub(super) running: Uuid,
    /// A run that was not claimed yet.
    pub(super) queued: Uuid,
    pub(super) cancelled: Uuid,
}

impl Sample {
    pub(super) async fn new() -> Self {
        let db = TestDb::new().await;
        let user = db.user("Ada").await;
        let first = Post {
            key: Some(("k".to_owned(), [0; 32])),
            ..first_post(user, "Add milk")
        };
        db.post(&first).await;
        turn(&db, &first, &["milk"], None).await;
        let second = db.continue_conversation(&first, "Add bread and delete it").await;
        turn(&db, &second, &["bread"], Some(2)).await;
        let third = db.continue_conversation(&first, "Fail").await;
        let lease = db.claim(third.run_id).await;
        let ending = Ending::Failed {
            reason: "no".to_owned(),
            error: "no".to_owned(),
        };
        let finish = Finish {
            ending,
            last_step: Some(step(0, 5, 0)),
            ..reply_to(&lease, "")
        };
        db.finish(&finish).await.unwrap();
        let worker = WorkerRow {
            id: Uuid::now_v7(),
            host: "here".to_owned(),
            version: "1".to_owned(),
            concurrency: 10,
        };
        workers::heartbeat(db.pool(), &worker, 1).await.unwrap();
        let fourth = db.continue_conversation(&first, "Run").await;
        let lease = db.claim(fourth.run_id).await;
        db.database
            .execute(&format!(
                "UPDATE runs SET worker_id = '{}' WHERE id = '{}'",
                worker.id, lease.run_id
            ))
            .await
            .unwrap();
        let asked = format!(
            "INSERT INTO asked_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, expires_at, approved, \
             decided_at) SELECT run_id, step, call_index, tool_call_id, tool_name, arguments, now() + interval '1 minute', \
             true, now() FROM tool_calls WHERE run_id = '{}'",
            second.run_id
        );
        db.database.execute(&asked).await.unwrap();
        let other = db.start_conversation(user, "Wait").await;
        let cancelled = next_post(&other, "Never mind");
        db.post(&cancelled).await;
        let ending = Finish {
            run_id: cancelled.run_id,
            token: None,
            final_event_seq: (1 << 20) + 1,
            ending: Ending::Cancelled,
            last_step: None,
        };
        db.finish(&ending).await.unwrap();
        Self {
            db,
            user,
            conversation: first.conversation_id,
            added: first.run_id,
            deleted: second.run_id,
            failed: third.run_id,
            running: fourth.run_id,
            queued: other.run_id,
            cancelled: cancelled.run_id,
        }
    }

    pub(super) async fn check(&self, check: Check) -> Found {
        self.check_with(check, LIMITS).await
    }

    /// Executes a check without any grace periods.
    pub(super) async fn check_without_grace(&self, check: Check) -> Found {
        let limits = AuditLimits {
            rescue_seconds: 0.001,
            queued_seconds: 0.001,
            ..LIMITS
        };
        self.check_with(check, limits).await
    }

    async fn check_with(&self, check: Check, limits: AuditLimits) -> Found {
        let mut connection = self.db.pool().acquire().await.unwrap();
        check.run(&mut connection, limits).await.unwrap()
    }
}

/// Executes a run: a step that adds tasks and deletes one, then the reply.
async fn turn(db: &TestDb, post: &Post, titles: &[&str], delete: Option<i64>) {
    let lease = db.claim(post.run_id).await;
    let mut connection = db.pool().acquire().await.unwrap();
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
        .await
        .unwrap();
    let mut calls = Vec::new();
    for title in titles {
        let task = tasks::add(&mut *transaction, lease.user_id, title, None)
            .await
            .unwrap();
        let result = json!({"success": true, "task": task, "message": "added"});
        calls.push(call("add_task", json!({"title": title}), result, true));
    }
    if let Some(number) = delete {
        let task = tasks::delete(&mut *transaction, lease.user_id, number)
            .await
            .unwrap()
            .unwrap();
        let result = json!({"success": true, "deleted_task": {"id": task.id, "title": task.title}});
        calls.push(call(
            "delete_task",
            json!({"task_id": number, "user_id": "me"}),
            result,
            true,
        ));
    }
    // A call whose arguments were not a JSON object.
    calls.push(call(
        "list_tasks",
        json!(null),
        json!({"success": false, "error": "no"}),
        false,
    ));
    let record = StepRecord {
        content: "I will".to_owned(),
        provider_data: Some(json!({"source": "host/model", "message": {"reasoning": "Hm."}})),
        ..step(0, 100, 10)
    };
    let recorded = steps::record(&mut transaction, lease.run_id, lease.token, &record, &calls)
        .await
        .unwrap();
    assert!(matches!(recorded, RecordOutcome::Written { .. }));
    transaction.commit().await.unwrap();
    let shown = steps::calls_of(db.pool(), lease.run_id, lease.user_id)
        .await
        .unwrap();
    let ending = Ending::Succeeded {
        message_id: Uuid::now_v7(),
        content: "Done".to_owned(),
        tool_calls: serde_json::to_value(shown).unwrap(),
    };
    let finish = Finish {
        ending,
        last_step: Some(step(1, 200, 20)),
        ..reply_to(&lease, "")
    };
    db.finish(&finish).await.unwrap();
}

fn call(name: &str, arguments: serde_json::Value, result: serde_json::Value, success: bool) -> RecordedCall {
    RecordedCall {
        tool_call_id: format!("call_{}", Uuid::now_v7()),
        tool_name: name.to_owned(),
        arguments,
        result,
        success,
    }
}

/// Executes statements that no program of Errand would, after dropping the constraints that prevent them.
pub(super) async fn force(connection: &mut PgConnection, statements: &str) {
    let drop_constraints = "ALTER TABLE runs DROP CONSTRAINT IF EXISTS run_fields;
        ALTER TABLE runs DROP CONSTRAINT IF EXISTS runs_conversation_id_seq_key;
        ALTER TABLE messages DROP CONSTRAINT IF EXISTS messages_slot;
        ALTER TABLE messages DROP CONSTRAINT IF EXISTS messages_run_id_slot_key;
        ALTER TABLE messages DROP CONSTRAINT IF EXISTS messages_pkey;
        ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_pkey;
        ALTER TABLE tool_calls DROP CONSTRAINT IF EXISTS tool_calls_pkey;
        ALTER TABLE tool_calls DROP CONSTRAINT IF EXISTS tool_calls_run_id_step_fkey;
        ALTER TABLE asked_calls DROP CONSTRAINT IF EXISTS asked_calls_run_id_step_fkey;
        ALTER TABLE steps DROP CONSTRAINT IF EXISTS steps_pkey;
        DROP INDEX IF EXISTS runs_one_at_a_time;";
    sqlx::raw_sql(AssertSqlSafe(format!("{drop_constraints}{statements}")))
        .execute(connection)
        .await
        .unwrap();
}
