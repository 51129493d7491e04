//! What goes when its time is over, and that everything holds without it.

use errand_shared::{
    Uuid,
    storage::{
        audit::Check,
        retention::{self, DroppedJournals},
        runs,
    },
};

use super::scene::Scene;

/// A scene that was finished forty days ago.
async fn old_scene() -> Scene {
    let scene = Scene::new().await;
    scene
        .book
        .database
        .execute(
            "UPDATE runs SET created_at = created_at - interval '40 days', queued_at = queued_at - interval '40 days', \
             first_claimed_at = first_claimed_at - interval '40 days', claimed_at = claimed_at - interval '40 days', \
             finished_at = finished_at - interval '40 days' WHERE finished_at IS NOT NULL",
        )
        .await
        .unwrap();
    scene
}

/// Drops from the beginning.
async fn drop_all(scene: &Scene, days: i32) -> DroppedJournals {
    retention::drop_journals(scene.book.pool(), Uuid::nil(), Uuid::max(), days, 100)
        .await
        .unwrap()
}

/// What users are told of all runs, in order of their ids.
async fn told(scene: &Scene) -> Vec<String> {
    let all = [
        scene.added,
        scene.deleted,
        scene.failed,
        scene.running,
        scene.queued,
        scene.cancelled,
    ];
    let mut views = runs::views(scene.book.pool(), &all, false).await.unwrap();
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
async fn without_the_journals_of_old_runs_the_same_is_told_and_all_holds() {
    let scene = old_scene().await;
    let before = told(&scene).await;
    assert!(before.iter().any(|one| one.contains("add_task")), "{before:?}");
    assert_eq!(drop_all(&scene, 50).await.runs, 0, "they are not that old");
    let dropped = drop_all(&scene, 30).await;
    assert_eq!(dropped.runs, 2, "those that succeeded");
    assert_eq!(dropped.last, Some(scene.failed), "was looked at, and kept");
    assert_eq!(told(&scene).await, before);
    let database = &scene.book.database;
    let left = "SELECT DISTINCT run_id::text FROM steps UNION SELECT run_id::text FROM tool_calls";
    assert_eq!(database.texts(left).await, [scene.failed.to_string()]);
    for check in Check::ALWAYS {
        let found = scene.look(check).await;
        assert_eq!(found.offenders, Vec::<String>::new(), "{check:?}");
    }
    assert_eq!(drop_all(&scene, 30).await.runs, 0, "once is enough");
}

#[tokio::test]
async fn batches_go_on_where_the_last_one_ended() {
    let scene = old_scene().await;
    let mut after = Uuid::nil();
    let mut seen = Vec::new();
    loop {
        let batch = retention::drop_journals(scene.book.pool(), after, Uuid::max(), 30, 1)
            .await
            .unwrap();
        let Some(last) = batch.last else { break };
        seen.push((last, batch.runs));
        after = last;
    }
    assert_eq!(seen, [(scene.added, 1), (scene.deleted, 1), (scene.failed, 0)]);
}

#[tokio::test]
async fn a_run_that_somebody_holds_is_passed_over() {
    let scene = old_scene().await;
    let mut holder = scene.book.pool().begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "SELECT FROM runs WHERE id = '{}' FOR UPDATE",
        scene.added
    )))
    .execute(&mut *holder)
    .await
    .unwrap();
    assert_eq!(drop_all(&scene, 30).await.runs, 1);
    holder.rollback().await.unwrap();
    assert_eq!(drop_all(&scene, 30).await.runs, 1, "it is taken the next time");
}

#[tokio::test]
async fn keys_are_forgotten_by_their_age_with_and_without_a_run() {
    let scene = Scene::new().await;
    let (pool, database) = (scene.book.pool(), &scene.book.database);
    database
        .execute(&format!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id, created_at) \
             SELECT '{}', g::text, sha256('x'), CASE WHEN g % 2 = 0 THEN '{}'::uuid END, now() - g * interval '10 hours' \
             FROM generate_series(1, 6) g",
            scene.user, scene.added
        ))
        .await
        .unwrap();
    let keys = "SELECT key FROM idempotency_keys ORDER BY key";
    assert_eq!(
        retention::forget_keys(pool, Uuid::max(), 24, 1).await.unwrap(),
        1,
        "a batch has its bound"
    );
    assert_eq!(
        retention::forget_keys(pool, Uuid::max(), 24, 10).await.unwrap(),
        1
    );
    assert_eq!(database.texts(keys).await, ["1", "2", "3", "5", "k"]);
    assert_eq!(
        retention::forget_keys_without_runs(pool, 24, 10).await.unwrap(),
        2
    );
    assert_eq!(database.texts(keys).await, ["1", "2", "k"]);
}

#[tokio::test]
async fn expired_refresh_tokens_are_forgotten() {
    let scene = Scene::new().await;
    let database = &scene.book.database;
    database
        .execute(&format!(
            "INSERT INTO refresh_tokens (token_hash, family_id, user_id, expires_at) \
             SELECT sha256(g::text::bytea), gen_random_uuid(), '{}', now() + g * interval '1 hour' \
             FROM generate_series(-2, 2) g",
            scene.user
        ))
        .await
        .unwrap();
    assert_eq!(retention::forget_tokens(scene.book.pool(), 2).await.unwrap(), 2);
    retention::forget_tokens(scene.book.pool(), 10).await.unwrap();
    let left = "SELECT count(*) FROM refresh_tokens WHERE expires_at > now()";
    assert_eq!(database.count(left).await, 2);
    assert_eq!(database.count("SELECT count(*) FROM refresh_tokens").await, 2);
}
