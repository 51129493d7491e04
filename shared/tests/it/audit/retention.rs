//! Retention: what it deletes, and that users see no difference and all checks still pass.

use errand_shared::{
    Uuid,
    storage::{
        audit::Check,
        retention::{self, DroppedJournals},
        runs,
    },
};

use super::sample::Sample;

/// The sample, finished forty days ago.
async fn old_sample() -> Sample {
    let sample = Sample::new().await;
    sample
        .db
        .database
        .execute(
            "UPDATE runs SET created_at = created_at - interval '40 days', queued_at = queued_at - interval '40 days', \
             first_claimed_at = first_claimed_at - interval '40 days', claimed_at = claimed_at - interval '40 days', \
             finished_at = finished_at - interval '40 days' WHERE finished_at IS NOT NULL",
        )
        .await
        .unwrap();
    sample
}

/// Deletes journals, starting with the oldest run.
async fn drop_all(sample: &Sample, days: i32) -> DroppedJournals {
    retention::drop_journals(sample.db.pool(), Uuid::nil(), Uuid::max(), days, 100)
        .await
        .unwrap()
}

/// Everything that users see of all runs, in the order of their ids.
async fn visible(sample: &Sample) -> Vec<String> {
    let all = [
        sample.added,
        sample.deleted,
        sample.failed,
        sample.running,
        sample.queued,
        sample.cancelled,
    ];
    let mut views = runs::views(sample.db.pool(), &all, false).await.unwrap();
    views.sort_by_key(|view| view.response.run_id);
    views
        .iter()
        .map(|view| {
            format!(
                "{} {:?}",
                serde_json::to_string(&view.response).unwrap(),
                view.successes
            )
        })
        .collect()
}

#[tokio::test]
async fn deleting_old_journals_changes_no_view_and_passes_all_checks() {
    let sample = old_sample().await;
    let before = visible(&sample).await;
    assert!(before.iter().any(|run| run.contains("add_task")), "{before:?}");
    assert_eq!(drop_all(&sample, 50).await.runs, 0, "the runs are not old enough");
    let dropped = drop_all(&sample, 30).await;
    assert_eq!(dropped.runs, 2, "the runs that succeeded");
    assert_eq!(
        dropped.last,
        Some(sample.failed),
        "the failed run was examined and kept"
    );
    assert_eq!(visible(&sample).await, before);
    let database = &sample.db.database;
    let left = "SELECT DISTINCT run_id::text FROM steps UNION SELECT run_id::text FROM tool_calls";
    assert_eq!(database.texts(left).await, [sample.failed.to_string()]);
    for check in Check::ALWAYS {
        let found = sample.check(check).await;
        assert_eq!(found.offenders, Vec::<String>::new(), "{check:?}");
    }
    assert_eq!(drop_all(&sample, 30).await.runs, 0, "nothing is left to delete");
}

#[tokio::test]
async fn batches_continue_after_the_last_examined_run() {
    let sample = old_sample().await;
    let mut after = Uuid::nil();
    let mut seen = Vec::new();
    loop {
        let batch = retention::drop_journals(sample.db.pool(), after, Uuid::max(), 30, 1)
            .await
            .unwrap();
        let Some(last) = batch.last else { break };
        seen.push((last, batch.runs));
        after = last;
    }
    assert_eq!(seen, [(sample.added, 1), (sample.deleted, 1), (sample.failed, 0)]);
}

#[tokio::test]
async fn locked_run_is_skipped() {
    let sample = old_sample().await;
    let mut holder = sample.db.pool().begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "SELECT FROM runs WHERE id = '{}' FOR UPDATE",
        sample.added
    )))
    .execute(&mut *holder)
    .await
    .unwrap();
    assert_eq!(drop_all(&sample, 30).await.runs, 1);
    holder.rollback().await.unwrap();
    assert_eq!(
        drop_all(&sample, 30).await.runs,
        1,
        "it is deleted by the next batch"
    );
}

#[tokio::test]
async fn keys_are_deleted_by_age_with_and_without_a_run() {
    let sample = Sample::new().await;
    let (pool, database) = (sample.db.pool(), &sample.db.database);
    database
        .execute(&format!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id, created_at) \
             SELECT '{}', g::text, sha256('x'), CASE WHEN g % 2 = 0 THEN '{}'::uuid END, now() - g * interval '10 hours' \
             FROM generate_series(1, 6) g",
            sample.user, sample.added
        ))
        .await
        .unwrap();
    let keys = "SELECT key FROM idempotency_keys ORDER BY key";
    assert_eq!(
        retention::delete_keys(pool, Uuid::max(), 24, 1).await.unwrap(),
        1,
        "a batch is limited"
    );
    assert_eq!(
        retention::delete_keys(pool, Uuid::max(), 24, 10).await.unwrap(),
        1
    );
    assert_eq!(database.texts(keys).await, ["1", "2", "3", "5", "k"]);
    assert_eq!(retention::delete_keys_without_run(pool, 24, 10).await.unwrap(), 2);
    assert_eq!(database.texts(keys).await, ["1", "2", "k"]);
}

#[tokio::test]
async fn expired_refresh_tokens_are_deleted() {
    let sample = Sample::new().await;
    let database = &sample.db.database;
    database
        .execute(&format!(
            "INSERT INTO refresh_tokens (token_hash, family_id, user_id, expires_at) \
             SELECT sha256(g::text::bytea), gen_random_uuid(), '{}', now() + g * interval '1 hour' \
             FROM generate_series(-2, 2) g",
            sample.user
        ))
        .await
        .unwrap();
    assert_eq!(
        retention::delete_expired_tokens(sample.db.pool(), 2)
            .await
            .unwrap(),
        2
    );
    retention::delete_expired_tokens(sample.db.pool(), 10)
        .await
        .unwrap();
    let left = "SELECT count(*) FROM refresh_tokens WHERE expires_at > now()";
    assert_eq!(database.count(left).await, 2);
    assert_eq!(database.count("SELECT count(*) FROM refresh_tokens").await, 2);
}
