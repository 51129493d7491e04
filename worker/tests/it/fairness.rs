//! Users share the workers fairly: one user's many messages do not delay another user's message.

use std::time::Duration;

use errand_devstack::Redis;
use errand_fake_model::{Latency, Options};
use errand_shared::{Uuid, signals::wire::ReadyNotice};
use errand_testkit::{TestApp, User, eventually};

/// Inserts queued runs of one user, each in its own conversation, as if they had been posted an hour ago.
async fn queue_runs(app: &TestApp, user: &User, runs: u32) {
    let conversations = format!(
        "INSERT INTO conversations (id, user_id, title, last_seq) \
         SELECT gen_random_uuid(), '{}', 'queued', 1 FROM generate_series(1, {runs})",
        user.id
    );
    let queued_runs = "INSERT INTO runs (id, conversation_id, user_id, seq, queued_at, available_at, ring_at) \
                   SELECT gen_random_uuid(), id, user_id, 1, now() - interval '1 hour', now() - interval '1 hour', \
                       now() + interval '1 hour' FROM conversations WHERE title = 'queued'";
    let messages = "INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content) \
                SELECT gen_random_uuid(), conversation_id, 1, id, 0, 'user', 'Hello' FROM runs \
                WHERE conversation_id IN (SELECT id FROM conversations WHERE title = 'queued')";
    for statement in [&conversations, queued_runs, messages] {
        app.database.execute(statement).await.unwrap();
    }
}

/// Notifies the workers of every queued run, in the order of the run IDs.
async fn notify_all(app: &TestApp) {
    let ids = "SELECT user_id || ' ' || id FROM runs WHERE status = 'queued' ORDER BY id";
    let notices: Vec<_> = app
        .database
        .texts(ids)
        .await
        .iter()
        .map(|line| {
            let (user_id, run_id) = line.split_once(' ').unwrap();
            let [user_id, run_id] = [user_id, run_id].map(|id| id.parse().unwrap());
            ReadyNotice { user_id, run_id }.encode().to_vec()
        })
        .collect();
    let mut redis = app.redis().await;
    for page in notices.chunks(1000) {
        let () = redis::cmd("RPUSH")
            .arg(app.ready_key())
            .arg(page)
            .query_async(&mut redis)
            .await
            .unwrap();
    }
}

/// The largest number of other users' runs that were claimed between the post and the claim of one of this user's runs.
async fn max_runs_claimed_before(app: &TestApp, user: &User) -> i64 {
    let claimed_before = format!(
        "SELECT max(n) FROM (SELECT count(o.id) AS n FROM runs r LEFT JOIN runs o ON o.user_id <> r.user_id \
             AND o.claimed_at >= r.queued_at AND o.claimed_at < r.claimed_at \
         WHERE r.user_id = '{}' GROUP BY r.id) counts",
        user.id
    );
    app.database.count(&claimed_before).await
}

/// Ends a test whose other runs do not matter.
async fn delete_queued_runs(app: &TestApp) {
    app.database
        .execute("DELETE FROM runs WHERE status = 'queued'")
        .await
        .unwrap();
    app.drained().await;
}

fn slow_model() -> Options {
    Options {
        latency: Latency::Fixed(20.0),
        ..Options::default()
    }
}

#[tokio::test]
async fn message_waits_for_at_most_one_run_of_a_user_with_ten_thousand() {
    let app = TestApp::builder().workers(0).model(slow_model()).start().await;
    let ada = app.user("Ada").await;
    let bob = app.user("Bob").await;
    queue_runs(&app, &ada, 10_000).await;
    notify_all(&app).await;
    let _worker = app.start_worker_with(&["--worker-concurrency=1"]).await;
    eventually("some of Ada's runs are answered", || async {
        app.database
            .try_count("SELECT count(*) FROM runs WHERE status = 'succeeded'")
            .await
            .is_ok_and(|answered| answered >= 3)
    })
    .await;
    for _ in 0..5 {
        assert_eq!(bob.chat("Hello").await.status, 200);
    }
    assert!(max_runs_claimed_before(&app, &bob).await <= 1);
    delete_queued_runs(&app).await;
}

#[tokio::test]
async fn users_share_workers_fairly_without_redis() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder()
        .workers(0)
        .model(slow_model())
        .redis_url(redis.url())
        .api("--wait-sweep-ms=20")
        .start()
        .await;
    let ada = app.user("Ada").await;
    let bob = app.user("Bob").await;
    redis.stop().await.unwrap();
    queue_runs(&app, &ada, 1000).await;
    let _worker = app
        .start_worker_with(&["--worker-concurrency=1", "--rescue-interval-ms=20"])
        .await;
    eventually("some of Ada's runs are answered", || async {
        app.database
            .try_count("SELECT count(*) FROM runs WHERE status = 'succeeded'")
            .await
            .is_ok_and(|answered| answered >= 3)
    })
    .await;
    let answered = tokio::time::timeout(Duration::from_mins(1), bob.chat("Hello")).await;
    assert_eq!(answered.unwrap().status, 200);
    // The query in progress when Bob posted may return a run of Ada; the next query alternates between users.
    assert!(max_runs_claimed_before(&app, &bob).await <= 2);
    delete_queued_runs(&app).await;
}

#[tokio::test]
async fn queued_notifications_are_taken_by_any_worker_with_free_slots() {
    let app = TestApp::builder().workers(0).model(slow_model()).start().await;
    let ada = app.user("Ada").await;
    queue_runs(&app, &ada, 200).await;
    notify_all(&app).await;
    // A scan would find them too, but much later.
    let settings = ["--worker-concurrency=2", "--rescue-interval-ms=600000"];
    let first = app.start_worker_with(&settings).await;
    let second = app.start_worker_with(&settings).await;
    app.drained().await;
    let by = |id: Uuid| format!("SELECT count(*) FROM runs WHERE worker_id = '{id}'");
    assert!(app.database.count(&by(first.id)).await > 20);
    assert!(app.database.count(&by(second.id)).await > 20);
}
