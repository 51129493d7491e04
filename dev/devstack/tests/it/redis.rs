//! A private Redis: data, passwords, pauses, crashes and errors.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use errand_devstack::files::secret::Secret;
use errand_devstack::packages::find_here;
use errand_devstack::ports::any_free;
use errand_devstack::services::redis::{Redis, Settings};

use crate::dir::Dir;

fn settings(home: &Path, port: u16, password: &Secret) -> Settings {
    Settings {
        server: find_here().unwrap().redis_server,
        home: home.join("redis"),
        log: home.join("redis.log"),
        port,
        password: Some(password.clone()),
        keeps_data: true,
        ready_within: Duration::from_secs(30),
        pid_file: None,
        tied_to_us: false,
    }
}

fn command(port: u16, lines: &str) -> std::io::Result<String> {
    command_within(port, lines, Duration::from_mins(1))
}

fn command_within(port: u16, lines: &str, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("{lines}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test]
async fn an_ephemeral_server_restarts_empty_on_its_port() {
    let mut redis = Redis::ephemeral().await.unwrap();
    let (url, port, pid) = (redis.url(), redis.port(), redis.pid().unwrap());
    assert_eq!(url, format!("redis://127.0.0.1:{port}"));
    assert!(command(port, "SET a 1\r\nGET a").unwrap().contains("$1\r\n1"));
    redis.restart().await.unwrap();
    assert_eq!(redis.url(), url);
    assert_ne!(redis.pid().unwrap(), pid);
    assert!(command(port, "GET a").unwrap().contains("$-1"));

    let home = redis.log().parent().unwrap().to_owned();
    drop(redis);
    assert!(!home.exists());
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_is_resumed_and_can_be_stopped() {
    let mut redis = Redis::ephemeral().await.unwrap();
    redis.pause().unwrap();
    assert!(command_within(redis.port(), "PING", Duration::from_secs(1)).is_err());
    redis.resume().unwrap();
    assert!(command(redis.port(), "PING").unwrap().contains("+PONG"));
    redis.pause().unwrap();
    redis.stop().await.unwrap();
    assert_eq!(redis.pid(), None);
    redis.start_again().await.unwrap();
    assert!(command(redis.port(), "PING").unwrap().contains("+PONG"));
}

#[tokio::test]
async fn a_durable_server_keeps_its_data_in_a_crash_and_requires_its_password() {
    let dir = Dir::new();
    let password = Secret::random(16).unwrap();
    let port = any_free().unwrap();
    let mut redis = Redis::start(settings(dir.path(), port, &password)).await.unwrap();
    assert!(command(redis.port(), "SET a 1").unwrap().contains("-NOAUTH"));
    let login = format!("AUTH {}", password.expose());
    assert!(
        command(redis.port(), &format!("{login}\r\nSET a 1"))
            .unwrap()
            .contains("+OK\r\n+OK")
    );
    redis.stop().await.unwrap();
    drop(redis);

    let mut redis = Redis::start(settings(dir.path(), port, &password)).await.unwrap();
    assert!(
        command(redis.port(), &format!("{login}\r\nGET a"))
            .unwrap()
            .contains("$1\r\n1")
    );
    redis.crash().await.unwrap();
    redis.start_again().await.unwrap();
    assert!(
        command(redis.port(), &format!("{login}\r\nGET a"))
            .unwrap()
            .contains("$1\r\n1")
    );

    let config = dir.path().join("redis/redis.conf");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(config.parent().unwrap())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
}

#[tokio::test]
async fn a_port_taken_by_another_redis_is_reported() {
    let other = Redis::ephemeral().await.unwrap();
    let dir = Dir::new();
    let password = Secret::random(16).unwrap();
    let message = Redis::start(settings(dir.path(), other.port(), &password))
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains(" exited (exit status"), "{message}");
    assert!(message.contains("Address already in use"), "{message}");
}
