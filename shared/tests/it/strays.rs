//! What the rescuer finds, and what it leaves alone.

use errand_shared::{
    Uuid,
    signals::wire::ReadyNotice,
    storage::queue::{
        claims,
        rescue::{find_orphans, find_overdue, requeue, take_due_notifications},
        workers::{self, WorkerRow},
    },
};

use crate::book::{Book, WIDE, reply_to};

async fn worker(book: &Book) -> Uuid {
    let row = WorkerRow {
        id: Uuid::now_v7(),
        host: "h".to_owned(),
        version: "1".to_owned(),
        concurrency: 1,
    };
    workers::beat(book.pool(), &row, 0).await.unwrap();
    row.id
}

/// Makes a worker and its claims look so old.
async fn age(book: &Book, worker: Uuid, seconds: i32) {
    let age = format!(
        "UPDATE workers SET heartbeat_at = now() - interval '{seconds} s' WHERE id = '{worker}'; \
         UPDATE runs SET claimed_at = now() - interval '{seconds} s' WHERE worker_id = '{worker}'"
    );
    book.database.execute(&age).await.unwrap();
}

#[tokio::test]
async fn only_the_runs_of_dead_workers_are_orphans() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let (alive, dead) = (worker(&book).await, worker(&book).await);
    let (kept, lost) = (book.begin(ada, "kept").await, book.begin(ada, "lost").await);
    claims::claim(book.pool(), alive, &[kept.run_id], WIDE)
        .await
        .unwrap();
    let lease = claims::claim(book.pool(), dead, &[lost.run_id], WIDE)
        .await
        .unwrap()
        .remove(0);
    assert!(find_orphans(book.pool(), 6.0, 10).await.unwrap().is_empty());
    age(&book, dead, 7).await;
    let orphans = find_orphans(book.pool(), 6.0, 10).await.unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!((orphans[0].run_id, orphans[0].token), (lost.run_id, lease.token));
    assert!(!orphans[0].overdue && !orphans[0].cancel_requested);

    assert!(
        requeue(book.pool(), &[lost.run_id], &[Uuid::now_v7()])
            .await
            .unwrap()
            .is_empty(),
        "another lease"
    );
    let (runs, tokens) = ([lost.run_id], [lease.token]);
    let (one, two) = tokio::join!(
        requeue(book.pool(), &runs, &tokens),
        requeue(book.pool(), &runs, &tokens)
    );
    assert_eq!(
        one.unwrap().len() + two.unwrap().len(),
        1,
        "two rescuers, one rescue"
    );
    assert_eq!(
        book.database
            .count("SELECT count(*) FROM runs WHERE status = 'queued' AND rescues = 1")
            .await,
        1
    );
    assert!(book.finish(&reply_to(&lease, "too late")).await.is_none());
}

#[tokio::test]
async fn the_runs_of_workers_that_are_not_even_listed_are_orphans() {
    let book = Book::new().await;
    let ada = book.user("Ada").await;
    let alive = worker(&book).await;
    for round in 0..3 {
        let (gone, kept) = (book.begin(ada, "gone").await, book.begin(ada, "kept").await);
        claims::claim(book.pool(), Uuid::now_v7(), &[gone.run_id], WIDE)
            .await
            .unwrap();
        claims::claim(book.pool(), alive, &[kept.run_id], WIDE)
            .await
            .unwrap();
        assert_eq!(find_orphans(book.pool(), 6.0, 10).await.unwrap().len(), round);
        book.database
            .execute("UPDATE runs SET claimed_at = now() - interval '7 s'")
            .await
            .unwrap();
        let orphans = find_orphans(book.pool(), 6.0, 10).await.unwrap();
        assert_eq!(orphans.len(), round + 1);
        assert!(orphans.iter().any(|stray| stray.run_id == gone.run_id));
        assert!(orphans.iter().all(|stray| stray.run_id != kept.run_id));
    }
}

#[tokio::test]
async fn a_run_claimed_by_a_worker_that_just_woke_is_left_alone() {
    let book = Book::new().await;
    let sleeper = worker(&book).await;
    age(&book, sleeper, 60).await;
    let post = book.begin(book.user("Ada").await, "hi").await;
    claims::claim(book.pool(), sleeper, &[post.run_id], WIDE)
        .await
        .unwrap();
    assert!(find_orphans(book.pool(), 6.0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_overdue_run_is_found_whoever_holds_it() {
    let book = Book::new().await;
    let alive = worker(&book).await;
    let ada = book.user("Ada").await;
    let (late, in_time) = (book.begin(ada, "late").await, book.begin(ada, "in time").await);
    claims::claim(book.pool(), alive, &[late.run_id, in_time.run_id], WIDE)
        .await
        .unwrap();
    let overdue = format!(
        "UPDATE runs SET deadline_at = now() - interval '5 s' WHERE id = '{}'",
        late.run_id
    );
    book.database.execute(&overdue).await.unwrap();
    assert!(
        find_overdue(book.pool(), 6.0, 10).await.unwrap().is_empty(),
        "its worker may still end it"
    );
    let found = find_overdue(book.pool(), 4.0, 10).await.unwrap();
    assert_eq!(
        found.iter().map(|stray| stray.run_id).collect::<Vec<_>>(),
        [late.run_id]
    );
    assert!(found[0].overdue);
}

#[tokio::test]
async fn a_bell_is_rung_when_due_and_then_less_and_less_often() {
    let book = Book::new().await;
    let first = book.begin(book.user("Ada").await, "one").await;
    book.go_on(&first, "two").await;
    assert!(
        take_due_notifications(book.pool(), 10).await.unwrap().is_empty(),
        "the poster rings first"
    );
    book.database
        .execute("UPDATE runs SET ring_at = now(), queued_at = now() - interval '60 s'")
        .await
        .unwrap();
    assert_eq!(
        take_due_notifications(book.pool(), 10).await.unwrap(),
        [ReadyNotice {
            user_id: first.user_id,
            run_id: first.run_id
        }],
        "only what can be claimed"
    );
    assert!(take_due_notifications(book.pool(), 10).await.unwrap().is_empty());
    let waits = "SELECT count(*) FROM runs WHERE ring_at > now() + interval '55 s' AND ring_at < now() + interval '61 s'";
    assert_eq!(
        book.database.count(waits).await,
        2,
        "as long again as it has waited"
    );
}
