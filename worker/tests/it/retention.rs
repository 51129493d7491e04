//! The deletion of old data, which does not change responses.

use errand_testkit::{TestApp, eventually};
use serde_json::json;

/// The id of the old run. As a version 7 UUID it is as old as the run.
const OLD: &str = "00000000-0000-7000-8000-000000000001";

/// SQL that inserts a run that succeeded two days ago, with a tool call.
fn insert_old_run(user: &str) -> String {
    let call = json!([{"tool_call_id": "c", "tool_name": "add_task", "arguments": {"user_id": user, "title": "milk"},
        "result": {"success": false, "error": "VALIDATION_ERROR: no", "message": "no"}}]);
    format!(
        "INSERT INTO conversations (id, user_id, title, last_seq) VALUES ('{OLD}', '{user}', 'Old', 3);
         INSERT INTO runs (id, conversation_id, user_id, seq, status, attempt, epoch, finished_at, final_event_seq,
             prompt_tokens, completion_tokens)
         VALUES ('{OLD}', '{OLD}', '{user}', 1, 'succeeded', 1, 1, now() - interval '2 days', 1048577, 7, 3);
         INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content, tool_calls, tool_call_id)
         VALUES (gen_random_uuid(), '{OLD}', 1, '{OLD}', 0, 'user', 'Add milk', NULL, NULL),
             (gen_random_uuid(), '{OLD}', 2, '{OLD}', 1, 'tool', 'no', NULL, 'c'),
             (gen_random_uuid(), '{OLD}', 3, '{OLD}', 32767, 'assistant', 'I could not.', '{call}', NULL);
         INSERT INTO steps (run_id, step, attempt, model, prompt_tokens, completion_tokens) VALUES ('{OLD}', 0, 1, 'm', 7, 3);
         INSERT INTO tool_calls (run_id, step, call_index, tool_call_id, tool_name, arguments, result, success)
         VALUES ('{OLD}', 0, 0, 'c', 'add_task', '{{\"title\": \"milk\"}}',
             '{{\"success\": false, \"error\": \"VALIDATION_ERROR: no\", \"message\": \"no\"}}', false);
         INSERT INTO idempotency_keys (user_id, key, fingerprint, run_id, created_at)
         VALUES ('{user}', 'old', sha256('x'), '{OLD}', now() - interval '2 days')"
    )
}

#[tokio::test]
async fn worker_deletes_only_old_data() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    app.database
        .execute(&insert_old_run(&user.id.to_string()))
        .await
        .unwrap();
    let before = user.get(&format!("/runs/{OLD}")).await;
    assert_eq!(
        (before.status.as_u16(), before.tools()),
        (200, vec!["add_task"]),
        "{}",
        before.body
    );
    let _worker = app
        .start_worker_with(&[
            "--retention-journal-days=1",
            "--retention-keys-hours=24",
            "--retention-interval-seconds=1",
        ])
        .await;
    let recent = user.chat("Add a task to buy milk").await;
    assert_eq!(recent.status, 200, "{}", recent.body);
    let old =
        "SELECT (SELECT count(*) FROM steps WHERE step_of_old) + (SELECT count(*) FROM idempotency_keys)"
            .replace("step_of_old", &format!("run_id = '{OLD}'"));
    eventually("old data is deleted", || async {
        app.database.count(&old).await == 0
    })
    .await;
    assert_eq!(
        app.database.count("SELECT count(*) FROM steps").await,
        2,
        "the steps of the recent run"
    );
    assert_eq!(app.database.count("SELECT count(*) FROM tool_calls").await, 1);
    assert_eq!(user.get(&format!("/runs/{OLD}")).await.body, before.body);
}

#[tokio::test]
async fn nothing_is_deleted_by_default() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    app.database
        .execute(&insert_old_run(&user.id.to_string()))
        .await
        .unwrap();
    // The deleted expired token shows that a pass has run.
    app.database
        .execute("UPDATE refresh_tokens SET expires_at = now() - interval '1 second'")
        .await
        .unwrap();
    let _worker = app.start_worker_with(&["--retention-interval-seconds=1"]).await;
    eventually("the worker has deleted the expired token", || async {
        app.database.count("SELECT count(*) FROM refresh_tokens").await == 0
    })
    .await;
    assert_eq!(app.database.count("SELECT count(*) FROM steps").await, 1);
    assert_eq!(
        app.database.count("SELECT count(*) FROM idempotency_keys").await,
        1
    );
}
