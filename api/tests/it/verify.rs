//! `errand-api verify`, as an operator runs it.

use std::{
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
};

use errand_testkit::{Database, TestApp, User, variable};
use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;

use crate::programs::{program, run, text};

async fn verify(app: &TestApp, arguments: &[&str]) -> Output {
    let mut command = program();
    command
        .arg("verify")
        .args(arguments)
        .env("DATABASE_URL", app.database.url());
    run(&mut command).await
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Chats of a user: tasks are added and deleted, runs succeed, are cancelled and are retried.
async fn send_chats(user: &User) {
    let first = user.chat("Add a task to buy milk").await;
    assert_eq!(first.status, 200, "{}", first.body);
    let conversation = first.id("conversation_id");
    for message in [
        "Add milk, walk dog and pay bills",
        "Mark task 1 as done",
        "Delete task 2",
        "Yes",
        "Delete task 99",
        "Show me all my tasks",
    ] {
        let reply = user.chat_in(conversation, message).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    let one = user
        .chat_async(Some(conversation), "Add bread")
        .await
        .id("run_id");
    let two = user
        .chat_async(Some(conversation), "Add butter")
        .await
        .id("run_id");
    let cancel = |run| user.request(Method::POST, &format!("/runs/{run}/cancel")).send();
    drop(cancel(two).await.unwrap());
    user.wait(one).await;
    let ended = user.wait(two).await;
    if ended.status == 409 {
        user.post(&format!("/runs/{two}/retry"), Value::Null).await;
        user.wait(two).await;
    }
}

#[tokio::test]
async fn real_chats_have_no_violations() {
    let app = TestApp::start().await;
    send_chats(&app.user("Ada").await).await;
    app.drained().await;
    let verified = verify(&app, &["--only-chats", "--settled"]).await;
    let stdout = text(&verified.stdout);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{stdout}{}",
        text(&verified.stderr)
    );
    assert!(stdout.ends_with("\nNo violations found.\n"), "{stdout}");
    assert_eq!(text(&verified.stderr), "", "progress is only reported on request");

    let verified = verify(&app, &["--json", "--progress"]).await;
    let report = report(&verified);
    assert_eq!(report["ok"], true);
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 20);
    assert_eq!(checks[0]["check"], "messages");
    assert!(checks[0]["examined"].as_i64().unwrap() >= 9, "{report}");
    assert_eq!(text(&verified.stderr).lines().count(), 20);
}

#[tokio::test]
async fn running_chats_have_no_violations() {
    let app = TestApp::builder().apis(2).workers(3).start().await;
    let users: Vec<_> = join_all((0..12).map(|_| app.user("Ada"))).await;
    let load_is_running = AtomicBool::new(true);
    let load = async {
        join_all(users.iter().map(send_chats)).await;
        load_is_running.store(false, Ordering::Relaxed);
    };
    let verify_repeatedly = async {
        let mut verifications = 0;
        while load_is_running.load(Ordering::Relaxed) {
            let verified = verify(&app, &["--only-chats"]).await;
            assert_eq!(
                verified.status.code(),
                Some(0),
                "{}{}",
                text(&verified.stdout),
                text(&verified.stderr)
            );
            verifications += 1;
        }
        verifications
    };
    let ((), verifications) = tokio::join!(load, verify_repeatedly);
    assert!(verifications > 1, "verify ran during the load");
    app.drained().await;
}

#[tokio::test]
async fn a_violation_is_listed_and_the_exit_code_is_1() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let reply = user.chat("Add a task to buy milk").await;
    let broken = "DELETE FROM messages WHERE role = 'assistant'";
    app.database.execute(broken).await.unwrap();
    let run_id = reply.id("run_id");
    let verified = verify(&app, &[]).await;
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified.stderr));
    let shown = text(&verified.stdout);
    assert!(
        shown.contains(&format!("replies: 1 violations\n  run {run_id}\n")),
        "{shown}"
    );
    assert!(shown.ends_with("\nViolations found.\n"), "{shown}");

    let verified = verify(&app, &["--json"]).await;
    assert_eq!(verified.status.code(), Some(1));
    let report = report(&verified);
    assert_eq!(report["ok"], false);
    assert_eq!(report["checks"][2]["offenders"][0], format!("run {run_id}"));
}

#[tokio::test]
async fn an_invalid_setting_exits_with_2_and_an_unavailable_database_with_1() {
    let bad = run(program().args(["verify", "--show=0", "--database-url=postgres://127.0.0.1:1/x"])).await;
    assert_eq!(bad.status.code(), Some(2));
    assert!(
        text(&bad.stderr).starts_with("error: SHOW: "),
        "{}",
        text(&bad.stderr)
    );
    let away = run(program().args(["verify", "--database-url=postgres://127.0.0.1:1/x"])).await;
    assert_eq!(away.status.code(), Some(1));
    assert!(
        text(&away.stderr).starts_with("error: Postgres: "),
        "{}",
        text(&away.stderr)
    );
}

const DEFAULT_MESSAGES: u64 = 30_000;

/// `ERRAND_VERIFY_MESSAGES=300000` fills the database with that many messages; `--no-capture` prints the report.
#[tokio::test]
async fn a_large_database_is_verified() {
    let messages =
        variable("ERRAND_VERIFY_MESSAGES").map_or(DEFAULT_MESSAGES, |messages| messages.parse().unwrap());
    let database = Database::new().await;
    let users = messages.div_ceil(300);
    let fill = format!("SET errand.users TO {users}; {}", include_str!("verify/fill.sql"));
    database.execute(&fill).await.unwrap();
    let mut command = program();
    command
        .args(["verify", "--only-chats", "--settled"])
        .env("DATABASE_URL", database.url());
    let verified = command.output().await.unwrap();
    println!("{}", text(&verified.stdout));
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}{}",
        text(&verified.stdout),
        text(&verified.stderr)
    );
}
