//! Leases fence every write: without the current token, nothing changes.

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, RecordOutcome},
        queue::{claims, workers},
        tasks,
    },
};

use crate::test_db::{TestDb, reply_to, step};

#[tokio::test]
async fn invalid_token_cannot_record_finish_or_release() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "hi").await;
    let old = db.claim(post.run_id).await;
    assert!(
        claims::release(db.pool(), old.run_id, old.token, None, 0.0)
            .await
            .unwrap()
            .is_some()
    );
    let state = "SELECT concat_ws(' ', status, attempt, failures, lease_token, last_error) FROM runs";

    for (whose, token) in [
        ("former token of a queued run", old.token),
        ("former token of a run that another worker claimed", old.token),
        ("random token", Uuid::now_v7()),
    ] {
        if whose != "former token of a queued run" {
            db.try_claim(post.run_id).await;
        }
        let before = db.database.texts(state).await;
        let mut connection = db.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, post.run_id, token, ada)
            .await
            .unwrap();
        tasks::add(&mut *transaction, ada, "not committed", None)
            .await
            .unwrap();
        let recorded = steps::record(&mut transaction, post.run_id, token, &step(0, 1, 1), &[])
            .await
            .unwrap();
        assert_eq!(recorded, RecordOutcome::LeaseLost, "{whose}");
        drop(transaction);
        let mut finish = reply_to(&old, "too late");
        finish.token = Some(token);
        assert!(db.finish(&finish).await.is_none(), "{whose}");
        let released = claims::release(db.pool(), post.run_id, token, Some("fault"), 9.0)
            .await
            .unwrap();
        assert!(released.is_none(), "{whose}");
        assert_eq!(db.database.texts(state).await, before, "{whose}");
    }
    for (what, table) in [("task", "tasks"), ("step", "steps"), ("call", "tool_calls")] {
        assert_eq!(
            db.database.count(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{what}"
        );
    }
    assert_eq!(db.assistant_messages().await, 0);
}

#[tokio::test]
async fn former_owner_cannot_record_or_release_a_finished_run() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let post = db.start_conversation(ada, "hi").await;
    let lease = db.claim(post.run_id).await;
    db.finish(&reply_to(&lease, "Hello!")).await.unwrap();
    assert!(
        claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap()
            .is_none()
    );
    let mut connection = db.pool().acquire().await.unwrap();
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, ada)
        .await
        .unwrap();
    let recorded = steps::record(&mut transaction, lease.run_id, lease.token, &step(0, 1, 1), &[])
        .await
        .unwrap();
    assert_eq!(recorded, RecordOutcome::LeaseLost);
    drop(transaction);
    drop(connection);
    assert!(db.try_claim(post.run_id).await.is_none());
}

#[tokio::test]
async fn failed_attempt_is_delayed_and_released_one_is_not() {
    let db = TestDb::new().await;
    let post = db.start_conversation(db.user("Ada").await, "hi").await;
    let lease = db.claim(post.run_id).await;
    assert!(
        claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap()
            .is_some()
    );
    let lease = db.claim(post.run_id).await;
    assert_eq!(lease.failures, 0);
    assert!(
        claims::release(db.pool(), lease.run_id, lease.token, Some("a fault"), 3600.0)
            .await
            .unwrap()
            .is_some()
    );
    assert!(db.try_claim(post.run_id).await.is_none());
    let stored = db
        .database
        .texts("SELECT concat(failures, ' ', rescues, ' ', last_error) FROM runs")
        .await;
    assert_eq!(stored, ["1 0 a fault"]);
}

#[tokio::test]
async fn stopping_worker_releases_all_its_runs() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let row = workers::WorkerRow {
        id: Uuid::now_v7(),
        host: "h".to_owned(),
        version: "1".to_owned(),
        concurrency: 1,
    };
    assert!(
        !workers::heartbeat(db.pool(), &row, 0)
            .await
            .unwrap()
            .stop_claiming
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(db.start_conversation(ada, "hi").await.run_id);
    }
    let leases = claims::claim(db.pool(), row.id, &ids, crate::test_db::NO_LIMITS)
        .await
        .unwrap();
    assert_eq!(workers::held_runs(db.pool(), row.id).await.unwrap().len(), 3);
    workers::deregister(db.pool(), row.id).await.unwrap();
    assert_eq!(
        db.database.count("SELECT count(*) FROM workers").await,
        1,
        "it still has running runs"
    );
    let mut back = workers::release_all(db.pool(), row.id).await.unwrap();
    back.sort_by_key(|run| run.run_id);
    let back: Vec<_> = back.into_iter().map(|run| run.run_id).collect();
    assert_eq!(back, ids);
    workers::deregister(db.pool(), row.id).await.unwrap();
    assert_eq!(db.database.count("SELECT count(*) FROM workers").await, 0);
    let free = "SELECT count(*) FROM runs WHERE status = 'queued' AND failures = 0 AND rescues = 0 AND available_at <= now()";
    assert_eq!(db.database.count(free).await, 3);
    assert!(db.finish(&reply_to(&leases[0], "too late")).await.is_none());
}
