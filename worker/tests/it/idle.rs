//! What an idle worker costs.

use std::time::Duration;

use errand_devstack::Redis;
use errand_testkit::{TestApp, eventually};

/// Commands that Redis has executed.
async fn commands(app: &TestApp) -> u64 {
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut app.redis().await)
        .await
        .unwrap();
    let calls = statistics.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        // The cost of this measurement itself.
        let ignored = [
            "info",
            "hello",
            "client|setinfo",
            "select",
            "auth",
            "config|resetstat",
        ];
        (!ignored.contains(&name)).then(|| rest.split(',').next()?.parse::<u64>().ok())?
    });
    calls.sum()
}

/// Transactions in the app's database.
async fn transactions(app: &TestApp) -> i64 {
    app.database
        .count("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        .await
}

#[tokio::test]
async fn idle_worker_sends_few_queries() {
    let redis = Redis::ephemeral().await.unwrap();
    let app = TestApp::builder().redis_url(redis.url()).start().await;
    let user = app.user("Ada").await;
    assert_eq!(user.chat("Hello").await.status, 200);
    eventually("the worker waits for a notification", || async {
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut app.redis().await)
            .await
            .unwrap();
        clients.contains("cmd=blmpop")
    })
    .await;
    // A session of Postgres that becomes idle may report its last transactions as late as PGSTAT_IDLE_INTERVAL, 10 s,
    // afterwards. Those of the start and of the chat must not count.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let (commands_sent, transactions_made) = (commands(&app).await, transactions(&app).await);
    // Measures three seconds without work.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (commands_sent, transactions_made) = (
        commands(&app).await - commands_sent,
        transactions(&app).await - transactions_made,
    );
    assert!(commands_sent <= 3, "{commands_sent} commands in three seconds");
    // The rescuer runs three queries a second, the heartbeat two statements every two seconds; the rest is slack.
    assert!(
        transactions_made <= 25,
        "{transactions_made} transactions in three seconds"
    );
}
