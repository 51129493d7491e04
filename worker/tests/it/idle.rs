//! What a worker costs that has nothing to do.

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
        // What this look itself costs.
        let ours = [
            "info",
            "hello",
            "client|setinfo",
            "select",
            "auth",
            "config|resetstat",
        ];
        (!ours.contains(&name)).then(|| rest.split(',').next()?.parse::<u64>().ok())?
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
    eventually("the worker waits for a hint", || async {
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut app.redis().await)
            .await
            .unwrap();
        clients.contains("cmd=blmpop")
    })
    .await;
    let (asked, transacted) = (commands(&app).await, transactions(&app).await);
    // What is measured is a time in which nothing happens.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (asked, transacted) = (
        commands(&app).await - asked,
        transactions(&app).await - transacted,
    );
    assert!(asked <= 3, "{asked} commands in three seconds");
    // Every second three looks of the rescuer, every other second a beat of two statements; some slack for the rest.
    assert!(transacted <= 25, "{transacted} transactions in three seconds");
}
