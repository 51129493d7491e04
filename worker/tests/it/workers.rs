//! What the tests share: short beats, workers as processes, a model that adds one task a chat.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Builder, TestApp, WorkerProcess, eventually};

/// Workers whose death is noticed within two seconds.
pub(crate) fn swift(builder: Builder) -> Builder {
    builder
        .worker("--heartbeat-ms=100")
        .worker("--worker-dead-after-ms=1500")
        .worker("--rescue-interval-ms=50")
}

/// Longer than [`swift`] workers wait before they take each other for dead.
pub(crate) const LONGER_THAN_DEAD_AFTER: std::time::Duration = std::time::Duration::from_millis(2500);

/// A worker of the app as a process of its own.
pub(crate) async fn process(app: &TestApp, more: &[&str]) -> WorkerProcess {
    let mut arguments = app.worker_arguments().to_vec();
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    WorkerProcess::start(env!("CARGO_BIN_EXE_errand-worker"), &arguments).await
}

pub(crate) fn add_milk() -> Behaviour {
    Behaviour::tool_call("add_task", r#"{"title":"milk"}"#)
}

/// A model that answers every message with one new task and then with a word.
pub(crate) fn one_task_each() -> Script {
    let answered = |request: &errand_fake_model::ChatRequest| {
        request
            .messages
            .last()
            .is_some_and(|message| message.role == "tool")
    };
    Script::new()
        .when_fn(answered, [Behaviour::reply("Done.")])
        .repeated()
        .otherwise(add_milk())
}

/// The replies stored so far.
pub(crate) async fn replies(app: &TestApp) -> Vec<String> {
    app.database
        .texts("SELECT content FROM messages WHERE role = 'assistant' ORDER BY created_at, seq")
        .await
}

/// Waits until the given number of steps is committed. The next model call starts before that.
pub(crate) async fn steps_committed(app: &TestApp, steps: i64) {
    eventually("the steps are committed", async || {
        app.database.count("SELECT count(*) FROM steps").await == steps
    })
    .await;
}

/// How many tasks there are.
pub(crate) async fn tasks(app: &TestApp) -> i64 {
    app.database.count("SELECT count(*) FROM tasks").await
}

/// Of each run, in order of their ids: status, attempts, failures, rescues.
pub(crate) async fn runs(app: &TestApp) -> Vec<String> {
    app.database
        .texts("SELECT concat_ws(' ', status, attempt, failures, rescues) FROM runs ORDER BY id")
        .await
}
