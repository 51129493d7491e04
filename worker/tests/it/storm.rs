//! Several faults at once: workers are killed and suspended, Redis restarts. Each message is answered once and in order.

use std::time::Duration;

use errand_devstack::Redis;
use errand_fake_model::{Latency, Options};
use errand_testkit::{TestApp, eventually};

use crate::workers::{one_task_each, process, tasks, with_short_timeouts};

const CONVERSATIONS: i64 = 16;
const MESSAGES: i64 = 6;

#[tokio::test]
async fn messages_are_answered_once_and_in_order_while_workers_are_killed() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let model = Options {
        latency: Latency::Fixed(30.0),
        script: one_task_each(),
        seed: Some(7),
        ..Options::default()
    };
    let builder = TestApp::builder().workers(0).model(model).redis_url(redis.url());
    let app = with_short_timeouts(builder)
        .worker("--run-max-attempts=100")
        .worker("--worker-concurrency=8")
        .start()
        .await;
    let user = app.user("Ada").await;
    let mut workers = vec![
        process(&app, &[]).await,
        process(&app, &[]).await,
        process(&app, &[]).await,
    ];
    let mut posted = Vec::new();
    for _ in 0..CONVERSATIONS {
        let first = user.chat_async(None, "message 1").await;
        let conversation = first.id("conversation_id");
        posted.push(first);
        for number in 2..=MESSAGES {
            posted.push(
                user.chat_async(Some(conversation), &format!("message {number}"))
                    .await,
            );
        }
    }
    assert!(posted.iter().all(|reply| reply.status == 202));

    for (quarter, round) in (1..=3).enumerate() {
        let done = format!(
            "SELECT count(*) FROM runs WHERE status = 'succeeded' HAVING count(*) >= {}",
            round * 15
        );
        eventually("runs are answered", || async {
            app.database.try_count(&done).await.is_ok()
        })
        .await;
        workers.remove(0).kill().await;
        workers[0].freeze();
        if quarter == 1 {
            redis.restart().await.unwrap();
        }
        workers.push(process(&app, &[]).await);
        eventually("the runs of the frozen worker are rescued", || async {
            app.database
                .count("SELECT count(*) FROM runs WHERE rescues > 0")
                .await
                > 0
        })
        .await;
        workers[0].thaw();
    }
    app.drained().await;
    for worker in &mut workers {
        worker.terminate();
        assert_eq!(worker.exit_code(Duration::from_secs(20)).await, Some(0));
    }

    let all = CONVERSATIONS * MESSAGES;
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE status = 'succeeded'")
            .await,
        all
    );
    assert_eq!(tasks(&app).await, all, "one effect per message");
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM messages WHERE role = 'assistant'")
            .await,
        all
    );
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE failures > 0")
            .await,
        0
    );
    // The replies are in the order of the messages that they answer.
    let out_of_order = "SELECT count(*) FROM (SELECT r.seq, lag(r.seq) OVER (PARTITION BY m.conversation_id ORDER BY m.seq) AS before \
         FROM messages m JOIN runs r ON r.id = m.run_id WHERE m.role = 'assistant') o WHERE o.before > o.seq";
    assert_eq!(app.database.count(out_of_order).await, 0);
}
