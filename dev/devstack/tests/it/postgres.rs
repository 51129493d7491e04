//! A private Postgres: data, passwords, crashes and errors.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use errand_devstack::files::secret::Secret;
use errand_devstack::packages::find_here;
use errand_devstack::ports::any_free;
use errand_devstack::services::postgres::{Durability, Postgres, Settings};

use crate::dir::Dir;

fn settings(home: &Path, port: u16, password: &Secret) -> Settings {
    Settings {
        bin: find_here().unwrap().postgres_bin,
        home: home.join("postgres"),
        log: home.join("postgres.log"),
        port,
        password: password.clone(),
        durability: Durability::Durable,
        ready_within: Duration::from_mins(1),
        pid_file: None,
        tied_to_us: false,
    }
}

fn query(url: &str, sql: &str) -> String {
    let psql: PathBuf = find_here().unwrap().postgres_bin.join("psql");
    let output = Command::new(psql)
        .args(["-XtAq", url, "-c", sql])
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .trim()
    .to_owned()
}

#[tokio::test]
async fn an_ephemeral_server_answers_and_leaves_no_files() {
    let mut postgres = Postgres::ephemeral().await.unwrap();
    assert_eq!(query(&postgres.url(), "show fsync"), "off");
    assert_eq!(query(&postgres.url(), "show max_connections"), "300");
    assert_eq!(query(&postgres.url(), "select current_database()"), "errand");
    let home = postgres.log().parent().unwrap().to_owned();
    assert!(home.is_dir());
    postgres.stop().await.unwrap();
    drop(postgres);
    assert!(!home.exists());
}

#[tokio::test]
async fn a_dropped_server_is_stopped() {
    let postgres = Postgres::ephemeral().await.unwrap();
    let pid = postgres.pid().unwrap();
    drop(postgres);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_second_start_keeps_the_data_and_the_password() {
    let dir = Dir::new();
    let password = Secret::random(16).unwrap();
    // A start that was killed halfway leaves this.
    let draft = dir.path().join("postgres-draft-old");
    fs::create_dir(&draft).unwrap();
    let port = any_free().unwrap();
    let mut first = Postgres::start(settings(dir.path(), port, &password))
        .await
        .unwrap();
    assert!(!draft.exists());
    assert_eq!(query(&first.url(), "show fsync"), "on");
    query(&first.url(), "create table kept as select 42 as answer");
    let url = first.url();
    first.stop().await.unwrap();
    assert_eq!(first.pid(), None);
    let home = dir.path().join("postgres");
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);

    let second = Postgres::start(settings(dir.path(), port, &password))
        .await
        .unwrap();
    assert_eq!(second.url(), url);
    assert_eq!(query(&url, "select answer from kept"), "42");
    assert!(!fs::read_to_string(second.log()).unwrap().contains("ERROR"));
    let wrong = url.replace(password.expose(), "wrong");
    assert!(query(&wrong, "select 1").contains("password authentication failed"));
    assert!(
        !fs::read_to_string(second.log())
            .unwrap()
            .contains(password.expose())
    );
}

#[tokio::test]
async fn a_lost_password_file_is_reported() {
    let dir = Dir::new();
    let port = any_free().unwrap();
    drop(
        Postgres::start(settings(dir.path(), port, &Secret::random(16).unwrap()))
            .await
            .unwrap(),
    );
    let other = Secret::random(16).unwrap();
    let message = Postgres::start(settings(dir.path(), port, &other))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("another password") && message.contains("secrets/postgres-password"),
        "{message}"
    );
}

#[tokio::test]
async fn a_crashed_server_keeps_committed_data() {
    let dir = Dir::new();
    let password = Secret::random(16).unwrap();
    let mut postgres = Postgres::start(settings(dir.path(), any_free().unwrap(), &password))
        .await
        .unwrap();
    query(&postgres.url(), "create table kept as select 7 as answer");
    postgres.crash().await.unwrap();
    // A killed server leaves this file; another process has got its id.
    fs::write(
        dir.path().join("postgres/postmaster.pid"),
        format!("{}\n", std::process::id()),
    )
    .unwrap();
    postgres.start_again().await.unwrap();
    assert_eq!(query(&postgres.url(), "select answer from kept"), "7");
    postgres.restart().await.unwrap();
    assert_eq!(query(&postgres.url(), "select answer from kept"), "7");
}

#[tokio::test]
async fn a_directory_in_use_and_a_taken_port_are_reported() {
    let dir = Dir::new();
    let password = Secret::random(16).unwrap();
    let first = Postgres::start(settings(dir.path(), any_free().unwrap(), &password))
        .await
        .unwrap();
    let message = Postgres::start(settings(dir.path(), any_free().unwrap(), &password))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains(&format!("process {}", first.pid().unwrap())),
        "{message}"
    );

    let other = Dir::new();
    let message = Postgres::start(settings(other.path(), first.port(), &password))
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains(" exited (exit status"), "{message}");
    assert!(message.contains("Address already in use"), "{message}");
}

#[tokio::test]
async fn data_of_a_version_that_is_not_installed_is_reported() {
    let dir = Dir::new();
    fs::create_dir(dir.path().join("postgres")).unwrap();
    fs::write(dir.path().join("postgres/PG_VERSION"), "9\n").unwrap();
    let password = Secret::random(16).unwrap();
    let message = Postgres::start(settings(dir.path(), any_free().unwrap(), &password))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("created by Postgres 9") && message.contains("postgresql-9"),
        "{message}"
    );
}
