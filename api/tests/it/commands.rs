//! `create-user` and `token`, as an operator runs them.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use errand_shared::Uuid;
use errand_testkit::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::programs::{SECRET, named, printed, program, run, text};

/// Runs `create-user` with this standard input.
async fn create_user(app: &TestApp, arguments: &[&str], input: Option<&str>) -> Output {
    let mut command = program();
    command
        .arg("create-user")
        .args(arguments)
        .env("DATABASE_URL", app.database.url());
    let Some(input) = input else {
        return run(&mut command).await;
    };
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    timeout(Duration::from_mins(1), child.wait_with_output())
        .await
        .unwrap()
        .unwrap()
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    Reply::read(app.http().post(format!("{}/auth/login", app.url())).json(&body)).await
}

#[tokio::test]
async fn create_user_reads_the_password_from_standard_input() {
    let app = TestApp::builder().workers(0).start().await;
    let arguments = ["--email=ann@example.com", "--name=Ann 李"];
    let made = create_user(&app, &arguments, Some(" pass word é \r\nnot this line\n")).await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let stdout = text(&made.stdout);
    assert_eq!(stdout.lines().count(), 1, "the password is not printed: {stdout}");
    let login = log_in(&app, "ann@example.com", " pass word é ").await;
    assert_eq!(login.status, 200, "{}", login.body);
    assert_eq!(login.body["user"]["id"], named(&stdout, "user").unwrap());
    assert_eq!(login.body["user"]["name"], "Ann 李");
    assert_eq!(
        app.database.texts("SELECT role FROM users").await,
        ["user".to_owned()]
    );

    let taken = create_user(&app, &["--email=ANN@example.com", "--name=Ann"], Some("12345678")).await;
    assert_eq!(taken.status.code(), Some(1));
    let short = create_user(&app, &["--email=eve", "--name=Eve"], Some("hush\n")).await;
    assert_eq!(short.status.code(), Some(1));
    let stderr = text(&short.stderr);
    assert!(
        stderr.contains("email") && stderr.contains("password must have"),
        "{stderr}"
    );
    assert!(!stderr.contains("hush"), "{stderr}");
    assert_eq!(app.database.count("SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn a_missing_password_is_generated_and_printed() {
    let app = TestApp::builder().workers(0).start().await;
    for (input, email) in [(None, "root@example.com"), (Some("\n"), "toor@example.com")] {
        let email_argument = format!("--email={email}");
        let made = create_user(&app, &[&email_argument, "--name=Root", "--admin"], input).await;
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let stdout = text(&made.stdout);
        let password = named(&stdout, "password").unwrap();
        assert!(password.len() >= 20, "{stdout}");
        let login = log_in(&app, email, password).await;
        assert_eq!(login.status, 200, "{}", login.body);
        assert_eq!(claims(login.text("access_token"))["role"], "admin");
    }
    let admins = "SELECT count(*) FROM users WHERE role = 'admin'";
    assert_eq!(app.database.count(admins).await, 2);
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn an_issued_token_is_accepted() {
    let app = TestApp::builder()
        .workers(0)
        .api(format!("--jwt-secret={SECRET}"))
        .start()
        .await;
    let ada = app.user("Ada").await;
    let token = |arguments: Vec<String>| {
        let mut command = program();
        command
            .arg("token")
            .args(arguments)
            .env("DATABASE_URL", app.database.url())
            .env("JWT_SECRET", SECRET);
        command
    };
    let user = format!("--user={}", ada.id);
    for (arguments, role, seconds) in [
        (vec![user.clone()], "user", 3600),
        (
            vec![user.clone(), "--admin".to_owned(), "--ttl=60".to_owned()],
            "admin",
            60,
        ),
    ] {
        let stdout = printed(&mut token(arguments)).await;
        let issued = stdout.strip_suffix('\n').unwrap();
        let me = app
            .http()
            .get(format!("{}/auth/me", app.url()))
            .bearer_auth(issued);
        let me = Reply::read(me).await;
        assert_eq!(me.status, 200, "{}", me.body);
        assert_eq!(me.id("id"), ada.id);
        let claims = claims(issued);
        assert_eq!(claims["role"], role);
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            seconds
        );
        let mut caller = ada.clone();
        issued.clone_into(&mut caller.token);
        assert_eq!(caller.get("/tasks").await.status, 200);
    }
    let unknown = run(&mut token(vec![format!("--user={}", Uuid::now_v7())])).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(text(&unknown.stdout), "");
}
