//! The rescuer: which runs it finds, and which it ignores.

use errand_shared::{
    Uuid,
    signals::wire::ReadyNotice,
    storage::queue::{
        claims,
        rescue::{find_orphans, find_overdue, requeue, take_due_notifications},
        workers::{self, WorkerRow},
    },
};

use crate::test_db::{NO_LIMITS, TestDb, reply_to};

async fn worker(db: &TestDb) -> Uuid {
    let row = WorkerRow {
        id: Uuid::now_v7(),
        host: "h".to_owned(),
        version: "1".to_owned(),
        concurrency: 1,
    };
    workers::heartbeat(db.pool(), &row, 0).await.unwrap();
    row.id
}

/// Sets the age of a worker's last heartbeat and of its claims.
async fn age(db: &TestDb, worker: Uuid, seconds: i32) {
    let age = format!(
        "UPDATE workers SET heartbeat_at = now() - interval '{seconds} s' WHERE id = '{worker}'; \
         UPDATE runs SET claimed_at = now() - interval '{seconds} s' WHERE worker_id = '{worker}'"
    );
    db.database.execute(&age).await.unwrap();
}

#[tokio::test]
async fn only_runs_of_dead_workers_are_orphans() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let (alive, dead) = (worker(&db).await, worker(&db).await);
    let (kept, lost) = (
        db.start_conversation(ada, "kept").await,
        db.start_conversation(ada, "lost").await,
    );
    claims::claim(db.pool(), alive, &[kept.run_id], NO_LIMITS)
        .await
        .unwrap();
    let lease = claims::claim(db.pool(), dead, &[lost.run_id], NO_LIMITS)
        .await
        .unwrap()
        .remove(0);
    assert!(find_orphans(db.pool(), 6.0, 10).await.unwrap().is_empty());
    age(&db, dead, 7).await;
    let orphans = find_orphans(db.pool(), 6.0, 10).await.unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!((orphans[0].run_id, orphans[0].token), (lost.run_id, lease.token));
    assert!(!orphans[0].overdue && !orphans[0].cancel_requested);

    assert!(
        requeue(db.pool(), &[lost.run_id], &[Uuid::now_v7()])
            .await
            .unwrap()
            .is_empty(),
        "the lease has changed"
    );
    let (runs, tokens) = ([lost.run_id], [lease.token]);
    let (one, two) = tokio::join!(
        requeue(db.pool(), &runs, &tokens),
        requeue(db.pool(), &runs, &tokens)
    );
    assert_eq!(
        one.unwrap().len() + two.unwrap().len(),
        1,
        "two rescuers requeue a run once"
    );
    assert_eq!(
        db.database
            .count("SELECT count(*) FROM runs WHERE status = 'queued' AND rescues = 1")
            .await,
        1
    );
    assert!(db.finish(&reply_to(&lease, "too late")).await.is_none());
}

#[tokio::test]
async fn runs_of_unregistered_workers_are_orphans() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let alive = worker(&db).await;
    for round in 0..3 {
        let (orphan, kept) = (
            db.start_conversation(ada, "orphan").await,
            db.start_conversation(ada, "kept").await,
        );
        claims::claim(db.pool(), Uuid::now_v7(), &[orphan.run_id], NO_LIMITS)
            .await
            .unwrap();
        claims::claim(db.pool(), alive, &[kept.run_id], NO_LIMITS)
            .await
            .unwrap();
        assert_eq!(find_orphans(db.pool(), 6.0, 10).await.unwrap().len(), round);
        db.database
            .execute("UPDATE runs SET claimed_at = now() - interval '7 s'")
            .await
            .unwrap();
        let orphans = find_orphans(db.pool(), 6.0, 10).await.unwrap();
        assert_eq!(orphans.len(), round + 1);
        assert!(orphans.iter().any(|run| run.run_id == orphan.run_id));
        assert!(orphans.iter().all(|run| run.run_id != kept.run_id));
    }
}

#[tokio::test]
async fn run_claimed_by_a_worker_that_just_resumed_is_not_an_orphan() {
    let db = TestDb::new().await;
    let resumed = worker(&db).await;
    age(&db, resumed, 60).await;
    let post = db.start_conversation(db.user("Ada").await, "hi").await;
    claims::claim(db.pool(), resumed, &[post.run_id], NO_LIMITS)
        .await
        .unwrap();
    assert!(find_orphans(db.pool(), 6.0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn overdue_run_of_a_live_worker_is_found() {
    let db = TestDb::new().await;
    let alive = worker(&db).await;
    let ada = db.user("Ada").await;
    let (late, in_time) = (
        db.start_conversation(ada, "late").await,
        db.start_conversation(ada, "in time").await,
    );
    claims::claim(db.pool(), alive, &[late.run_id, in_time.run_id], NO_LIMITS)
        .await
        .unwrap();
    let overdue = format!(
        "UPDATE runs SET deadline_at = now() - interval '5 s' WHERE id = '{}'",
        late.run_id
    );
    db.database.execute(&overdue).await.unwrap();
    assert!(
        find_overdue(db.pool(), 6.0, 10).await.unwrap().is_empty(),
        "its worker may still finish it"
    );
    let found = find_overdue(db.pool(), 4.0, 10).await.unwrap();
    assert_eq!(
        found.iter().map(|run| run.run_id).collect::<Vec<_>>(),
        [late.run_id]
    );
    assert!(found[0].overdue);
}

#[tokio::test]
async fn notifications_are_repeated_at_growing_intervals() {
    let db = TestDb::new().await;
    let first = db.start_conversation(db.user("Ada").await, "one").await;
    db.continue_conversation(&first, "two").await;
    assert!(
        take_due_notifications(db.pool(), 10).await.unwrap().is_empty(),
        "the API sends the first notification itself"
    );
    db.database
        .execute("UPDATE runs SET ring_at = now(), queued_at = now() - interval '60 s'")
        .await
        .unwrap();
    assert_eq!(
        take_due_notifications(db.pool(), 10).await.unwrap(),
        [ReadyNotice {
            user_id: first.user_id,
            run_id: first.run_id
        }],
        "only for runs that can be claimed"
    );
    assert!(take_due_notifications(db.pool(), 10).await.unwrap().is_empty());
    let waits = "SELECT count(*) FROM runs WHERE ring_at > now() + interval '55 s' AND ring_at < now() + interval '61 s'";
    assert_eq!(
        db.database.count(waits).await,
        2,
        "the next interval is the time that the run has waited so far"
    );
}
