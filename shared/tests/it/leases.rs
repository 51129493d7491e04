//! The fence: whoever has lost the lease changes nothing.

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, RecordOutcome},
        queue::{claims, workers},
        tasks,
    },
};

use crate::book::{Book, reply_to, step};

#[tokio::test]
async fn a_token_that_is_not_the_lease_can_neither_record_nor_finish_nor_release() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "hi").await;
    let old = book.claim(post.run_id).await;
    assert!(
        claims::release(book.pool(), old.run_id, old.token, None, 0.0)
            .await
            .unwrap()
            .is_some()
    );
    let state = "SELECT concat_ws(' ', status, attempt, failures, lease_token, last_error) FROM runs";

    for (whose, token) in [
        ("of a queued run", old.token),
        ("of a run that another holds", old.token),
        ("made up", Uuid::now_v7()),
    ] {
        if whose != "of a queued run" {
            book.try_claim(post.run_id).await;
        }
        let before = book.database.texts(state).await;
        let mut connection = book.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, post.run_id, token, ada)
            .await
            .unwrap();
        tasks::add(&mut *transaction, ada, "a ghost", None).await.unwrap();
        let recorded = steps::record(&mut transaction, post.run_id, token, &step(0, 1, 1), &[])
            .await
            .unwrap();
        assert_eq!(recorded, RecordOutcome::LeaseLost, "{whose}");
        drop(transaction);
        let mut finish = reply_to(&old, "too late");
        finish.token = Some(token);
        assert!(book.finish(&finish).await.is_none(), "{whose}");
        let released = claims::release(book.pool(), post.run_id, token, Some("fault"), 9.0)
            .await
            .unwrap();
        assert!(released.is_none(), "{whose}");
        assert_eq!(book.database.texts(state).await, before, "{whose}");
    }
    for (what, table) in [("task", "tasks"), ("step", "steps"), ("call", "tool_calls")] {
        assert_eq!(
            book.database
                .count(&format!("SELECT count(*) FROM {table}"))
                .await,
            0,
            "{what}"
        );
    }
    assert_eq!(book.assistant_messages().await, 0);
}

#[tokio::test]
async fn a_finished_run_can_be_neither_recorded_nor_released_by_its_last_holder() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let post = book.begin(ada, "hi").await;
    let lease = book.claim(post.run_id).await;
    book.finish(&reply_to(&lease, "Hello!")).await.unwrap();
    assert!(
        claims::release(book.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap()
            .is_none()
    );
    let mut connection = book.pool().acquire().await.unwrap();
    let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, ada)
        .await
        .unwrap();
    let recorded = steps::record(&mut transaction, lease.run_id, lease.token, &step(0, 1, 1), &[])
        .await
        .unwrap();
    assert_eq!(recorded, RecordOutcome::LeaseLost);
    drop(transaction);
    drop(connection);
    assert!(book.try_claim(post.run_id).await.is_none());
}

#[tokio::test]
async fn a_failed_attempt_waits_and_a_handed_back_one_does_not() {
    let book = Book::new().await;
    let post = book.begin(book.user("Ada").await, "hi").await;
    let lease = book.claim(post.run_id).await;
    assert!(
        claims::release(book.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap()
            .is_some()
    );
    let lease = book.claim(post.run_id).await;
    assert_eq!(lease.failures, 0);
    assert!(
        claims::release(book.pool(), lease.run_id, lease.token, Some("a fault"), 3600.0)
            .await
            .unwrap()
            .is_some()
    );
    assert!(book.try_claim(post.run_id).await.is_none());
    let told = book
        .database
        .texts("SELECT concat(failures, ' ', rescues, ' ', last_error) FROM runs")
        .await;
    assert_eq!(told, ["1 0 a fault"]);
}

#[tokio::test]
async fn a_worker_that_leaves_hands_back_everything_at_no_cost() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let row = workers::WorkerRow {
        id: Uuid::now_v7(),
        host: "h".to_owned(),
        version: "1".to_owned(),
        concurrency: 1,
    };
    assert!(!workers::beat(book.pool(), &row, 0).await.unwrap().idle);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(book.begin(ada, "hi").await.run_id);
    }
    let leases = claims::claim(book.pool(), row.id, &ids, crate::book::WIDE)
        .await
        .unwrap();
    assert_eq!(workers::held(book.pool(), row.id).await.unwrap().len(), 3);
    workers::leave(book.pool(), row.id).await.unwrap();
    assert_eq!(
        book.database.count("SELECT count(*) FROM workers").await,
        1,
        "it still holds runs"
    );
    let mut back = workers::release_all(book.pool(), row.id).await.unwrap();
    back.sort_by_key(|run| run.run_id);
    let back: Vec<_> = back.into_iter().map(|run| run.run_id).collect();
    assert_eq!(back, ids);
    workers::leave(book.pool(), row.id).await.unwrap();
    assert_eq!(book.database.count("SELECT count(*) FROM workers").await, 0);
    let free = "SELECT count(*) FROM runs WHERE status = 'queued' AND failures = 0 AND rescues = 0 AND available_at <= now()";
    assert_eq!(book.database.count(free).await, 3);
    assert!(book.finish(&reply_to(&leases[0], "too late")).await.is_none());
}
