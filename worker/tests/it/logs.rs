//! A worker's log lines about a run contain the IDs of the run, its conversation and the request that posted it.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Reply, TestApp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::workers::process;

#[tokio::test]
async fn log_lines_of_a_run_contain_its_ids() {
    let app = TestApp::builder()
        .workers(0)
        .worker("--model-retry-base-ms=1")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.model
        .script(Script::new().when("go", [Behaviour::status(500), Behaviour::reply("Done.")]));
    let mut worker = process(&app, &[]).await;
    let request = user
        .request(Method::POST, "/chat")
        .header("x-request-id", "from-the-caller")
        .json(&json!({"message": "go"}));
    let answer = Reply::read(request).await;
    assert_eq!(answer.text("message"), "Done.", "{}", answer.body);
    worker.logged("retrying the model request").await;
    let lines = worker.lines("retrying the model request");
    let spans = lines[0]["spans"].as_array().unwrap();
    let run = spans.iter().find(|span| span["name"] == "run").unwrap();
    assert_eq!(run["run.id"], answer.body["run_id"], "{run}");
    assert_eq!(run["conversation.id"], answer.body["conversation_id"], "{run}");
    assert_eq!(run["request.id"], Value::from("from-the-caller"), "{run}");
    worker.terminate();
    assert_eq!(
        worker.exit_code(std::time::Duration::from_secs(20)).await,
        Some(0)
    );
}
