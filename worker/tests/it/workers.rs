//! Test helpers: workers with short timeouts, workers as processes, a model that adds one task per chat, and queries.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Builder, TestApp, WorkerProcess, eventually};

/// Workers whose death is detected within two seconds.
pub(crate) fn with_short_timeouts(builder: Builder) -> Builder {
    builder
        .worker("--heartbeat-ms=100")
        .worker("--worker-dead-after-ms=1500")
        .worker("--rescue-interval-ms=50")
}

/// Longer than workers [`with_short_timeouts`] wait before they consider each other dead.
pub(crate) const LONGER_THAN_DEAD_AFTER: std::time::Duration = std::time::Duration::from_millis(2500);

/// Starts a worker of the app as a separate process.
pub(crate) async fn process(app: &TestApp, more: &[&str]) -> WorkerProcess {
    let mut arguments = app.worker_arguments().to_vec();
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    WorkerProcess::start(env!("CARGO_BIN_EXE_errand-worker"), &arguments).await
}

pub(crate) fn add_milk() -> Behaviour {
    Behaviour::tool_call("add_task", r#"{"title":"milk"}"#)
}

/// A model that adds one task per message and then replies.
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

/// The number of tasks.
pub(crate) async fn tasks(app: &TestApp) -> i64 {
    app.database.count("SELECT count(*) FROM tasks").await
}

/// The status, attempts, failures and rescues of each run, ordered by id.
pub(crate) async fn runs(app: &TestApp) -> Vec<String> {
    app.database
        .texts("SELECT concat_ws(' ', status, attempt, failures, rescues) FROM runs ORDER BY id")
        .await
}
