//! The program as a process: its output, its exit code and its subcommands.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use errand_shared::{Uuid, signals::wire::ReadyNotice};
use errand_testkit::{Database, Reply, TestApp, User, eventually, redis_url};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_errand-api");
pub(crate) const SECRET: &str = "a secret of these programs only, 32 bytes or more";

/// The program with an empty environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        // A folder without a `.env` file.
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a program until it exits.
pub(crate) async fn run(command: &mut Command) -> Output {
    timeout(Duration::from_mins(1), command.output())
        .await
        .unwrap()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The output of a successful program.
pub(crate) async fn printed(command: &mut Command) -> String {
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The value of a `name: value` line.
pub(crate) fn named<'a>(printed: &'a str, name: &str) -> Option<&'a str> {
    printed
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// `errand-api serve` as a process, with the settings of an app's own API.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Server {
    pub(crate) async fn start(app: &TestApp, log_filter: &str) -> Self {
        Self::start_with(app, log_filter, &[]).await
    }

    /// Starts a server with additional settings.
    pub(crate) async fn start_with(app: &TestApp, log_filter: &str, settings: &[String]) -> Self {
        let log = std::env::temp_dir().join(format!("errand-test-{}.log", Uuid::now_v7().simple()));
        let more = [
            "--log-format=json".to_owned(),
            format!("--log-filter={log_filter}"),
        ];
        // The last argument with a name wins.
        let arguments: HashMap<_, _> = app
            .api_arguments()
            .iter()
            .chain(&more)
            .chain(settings)
            .map(|argument| (argument.split('=').next().unwrap(), argument))
            .collect();
        let child = program()
            .args(arguments.values())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            url: String::new(),
            log,
        };
        eventually("the program serves", || async { server.address().is_some() }).await;
        server.url = format!("http://{}", server.address().unwrap());
        eventually("the program is ready", || async {
            let ready = app.http().get(format!("{}/readyz", server.url));
            Reply::read(ready).await.text("status") == "ready"
        })
        .await;
        server
    }

    /// The resident memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// SIGTERM.
    async fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id().unwrap());
        let status = Command::new("sh").args(["-c", &kill]).status().await.unwrap();
        assert!(status.success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        timeout(Duration::from_secs(30), self.child.wait())
            .await
            .unwrap()
            .unwrap()
            .code()
    }

    /// Shuts the server down and returns its log.
    pub(crate) async fn stop(mut self) -> String {
        self.terminate().await;
        assert_eq!(self.exit_code().await, Some(0));
        let log = self.logged();
        std::fs::remove_file(&self.log).unwrap();
        log
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
        std::fs::remove_file(&self.log).unwrap();
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The address in its log.
    fn address(&self) -> Option<String> {
        self.logged().lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let serves = line["message"] == "API listening";
            serves.then(|| line["address"].as_str().unwrap().to_owned())
        })
    }
}

#[tokio::test]
async fn help_and_version_are_printed() {
    let help = printed(program().arg("--help")).await;
    for command in ["serve", "migrate", "create-user", "token", "renotify"] {
        assert!(help.contains(command), "{help}");
    }
    let version = printed(program().arg("--version")).await;
    assert_eq!(version, format!("errand-api {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["serve", "migrate", "create-user", "token", "renotify"] {
        let help = printed(program().args([command, "--help"]).env("JWT_SECRET", "hush-hush")).await;
        assert!(help.contains("--database-url"), "{command}: {help}");
        assert!(!help.contains("hush-hush"), "{command}: {help}");
    }
}

/// Valid settings of a server, as environment variables.
fn settings() -> HashMap<&'static str, String> {
    [
        ("DATABASE_URL", "postgres://user@127.0.0.1:1/nothing"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("JWT_SECRET", SECRET),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("ADMIN_LISTEN_ADDR", "127.0.0.1:0"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Asserts exit code 2 and one line that names the setting without its value.
async fn refused(command: &mut Command, name: &str, value: &str) {
    let output = run(command).await;
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
    assert!(
        stderr.ends_with('\n') && stderr.contains(name),
        "{name}: {stderr}"
    );
    assert!(
        value.is_empty() || !stderr.contains(value),
        "{name} shows its value: {stderr}"
    );
    assert_eq!(text(&output.stdout), "");
}

#[tokio::test]
async fn a_missing_setting_is_named() {
    for name in ["DATABASE_URL", "REDIS_URL", "JWT_SECRET"] {
        let mut missing = settings();
        missing.remove(name);
        refused(program().envs(&missing), name, "").await;
        missing.insert(name, String::new());
        refused(program().arg("serve").envs(&missing), name, "").await;
    }
    refused(&mut program(), "DATABASE_URL", "").await;
    refused(program().arg("migrate"), "DATABASE_URL", "").await;
    refused(
        program()
            .args(["renotify"])
            .env("DATABASE_URL", "postgres://x@y/z"),
        "REDIS_URL",
        "",
    )
    .await;
    refused(
        program().args(["create-user", "--name=x"]).envs(settings()),
        "EMAIL",
        "",
    )
    .await;
    refused(program().arg("token").envs(settings()), "USER", "").await;
}

#[tokio::test]
async fn an_invalid_setting_is_named_without_its_value() {
    for (name, value) in [
        ("JWT_SECRET", "hush-too-short"),
        ("JWT_SECRET_PREVIOUS", "hush-too-short"),
        ("JWT_SECRET", "@/no/such/hush"),
        ("JWT_PUBLIC_KEY_FILE", "/no/such/hush"),
        ("DATABASE_URL", "hush"),
        ("DATABASE_URL", "postgres://ada:hush@host:port/db"),
        ("DATABASE_URL", "@/no/such/hush"),
        ("REDIS_URL", "hush"),
        ("REDIS_URL", "http://ada:hush@host:6379"),
        ("LISTEN_ADDR", "hush"),
        ("ADMIN_LISTEN_ADDR", "hush:80"),
        ("TRUSTED_PROXIES", "127.0.0.1,hush"),
        ("JWT_TTL_SECONDS", "hush"),
        ("JWT_TTL_SECONDS", "-77"),
        ("CHAT_WAIT_DEFAULT", "7777"),
        ("DATABASE_POOL_SIZE", "77777"),
        ("PASSWORD_HASHES_AT_ONCE", "77777"),
        ("HTTP_BODY_MAX_BYTES", "77"),
        ("MAX_QUEUED_RUNS", "-77"),
        ("LOG_FORMAT", "hush"),
    ] {
        let mut bad = settings();
        bad.insert(name, value.to_owned());
        let hidden = if value.contains("hush") { "hush" } else { value };
        refused(program().envs(&bad), name, hidden).await;
    }
    let id = ["token", "--user=hush"];
    refused(program().args(id).envs(settings()), "USER", "hush").await;
    let unknown = ["serve", "--no-such-setting=hush"];
    refused(
        program().args(unknown).envs(settings()),
        "--no-such-setting",
        "hush",
    )
    .await;
    let twice = ["--jwt-secret=hush-hush", "--jwt-secret=hush-hush-hush"];
    refused(program().args(twice).envs(settings()), "--jwt-secret", "hush").await;
}

#[tokio::test]
async fn a_non_utf_8_setting_is_named() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    for name in ["JWT_SECRET", "DATABASE_URL", "JWT_ISSUER"] {
        let mut command = program();
        command.envs(settings()).env(name, OsStr::from_bytes(b"hush\xff"));
        refused(&mut command, name, "hush").await;
    }
}

#[tokio::test]
async fn migrating_is_idempotent() {
    let database = Database::new().await;
    database
        .execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await
        .unwrap();
    for _ in 0..2 {
        let stdout = printed(program().arg("migrate").env("DATABASE_URL", database.url())).await;
        assert_eq!(stdout, "");
        assert_eq!(database.count("SELECT count(*) FROM users").await, 0);
    }
    let one = || async {
        printed(program().arg("migrate").env("DATABASE_URL", database.url())).await;
    };
    database
        .execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await
        .unwrap();
    tokio::join!(one(), one(), one());
    assert_eq!(database.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn the_queue_is_rebuilt_from_postgres() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let mut connection = app.redis().await;
    let first = user.chat_async(None, "Add a task to buy milk").await;
    let behind = user
        .chat_async(Some(first.id("conversation_id")), "Show me all my tasks")
        .await;
    let other = user.chat_async(None, "Hello").await;
    let notifications = async |mut connection: redis::aio::MultiplexedConnection| -> Vec<Vec<u8>> {
        let mut range = redis::cmd("LRANGE");
        range.arg(app.ready_key()).arg(0).arg(-1);
        range.query_async(&mut connection).await.unwrap()
    };
    eventually("the API has notified", || async {
        notifications(connection.clone()).await.len() == 3
    })
    .await;
    let () = redis::cmd("DEL")
        .arg(app.ready_key())
        .query_async(&mut connection)
        .await
        .unwrap();

    let prefix = app
        .api_arguments()
        .iter()
        .find(|argument| argument.starts_with("--redis-prefix="))
        .unwrap();
    let stdout = printed(
        program()
            .args(["renotify", prefix])
            .env("DATABASE_URL", app.database.url())
            .env("REDIS_URL", redis_url()),
    )
    .await;
    assert_eq!(
        stdout, "2 notifications sent\n",
        "the second run of a conversation is not ready"
    );
    let mut notices = notifications(connection.clone()).await;
    notices.sort_unstable();
    let mut expected = [&first, &other].map(|reply| {
        let notice = ReadyNotice {
            user_id: user.id,
            run_id: reply.id("run_id"),
        };
        notice.encode().to_vec()
    });
    expected.sort_unstable();
    assert_eq!(notices, expected);

    // The rescuer would also notify, but much later.
    let _worker = app.start_worker_with(&["--rescue-interval-ms=600000"]).await;
    for reply in [&first, &behind, &other] {
        let answered = user.wait(reply.id("run_id")).await;
        assert_eq!(answered.text("status"), "succeeded", "{}", answered.body);
    }
}

#[tokio::test]
async fn a_shutdown_answers_waiting_requests() {
    let app = TestApp::builder().workers(0).start().await;
    let mut server = Server::start(&app, "info").await;
    let user = User::register(app.http(), server.url(), "Ada").await;
    let chat = user
        .request(Method::POST, "/chat")
        .header("prefer", "wait=60")
        .json(&json!({"message": "Add a task to buy milk"}));
    let stops = async {
        eventually("the message is stored", || async {
            app.database.count("SELECT count(*) FROM runs").await == 1
        })
        .await;
        server.terminate().await;
    };
    let (pending, ()) = tokio::join!(Reply::read(chat), stops);
    assert_eq!(pending.status, 202, "{}", pending.body);
    assert_eq!(pending.text("status"), "queued");
    assert_eq!(
        pending.headers["location"],
        format!("/api/{}/runs/{}", user.id, pending.text("run_id"))
    );
    assert_eq!(server.exit_code().await, Some(0), "{}", server.logged());
    assert!(server.logged().contains("API stopped"));
    std::fs::remove_file(&server.log).unwrap();
    let request = app.http().get(format!("{}/healthz", server.url())).send().await;
    assert!(request.is_err(), "the server no longer listens");

    let user = user.at(app.url());
    let _worker = app.start_worker().await;
    let answered = user.wait(pending.id("run_id")).await;
    assert_eq!(answered.tools(), ["add_task"], "{}", answered.body);
}
