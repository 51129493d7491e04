//! The program itself: `services` with a command, with durable data, and with missing packages.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use errand_devstack::packages::find_here;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::dir::Dir;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_errand-quickstart"))
}

/// `services --durable` with a data directory, running.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    exports: String,
}

impl Running {
    fn start(dir: &Dir) -> Self {
        let mut child = durable(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut exports = String::new();
        output.read_line(&mut exports).unwrap();
        assert!(
            exports.starts_with("export DATABASE_URL='postgres://errand:"),
            "{exports}"
        );
        Self {
            child,
            output,
            exports,
        }
    }

    /// Sends a signal, waits for the exit and returns the exit code.
    fn stop(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let mut rest = String::new();
        self.output.read_line(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn durable(dir: &Dir) -> Command {
    let mut command = program();
    command
        .args(["services", "--durable", "--data-dir"])
        .arg(dir.path().join("data"));
    command
}

fn recorded_pids(dir: &Dir) -> Vec<String> {
    let run = dir.path().join("data/run");
    let files = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| {
            std::fs::read_to_string(file)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn a_command_gets_private_services_and_its_exit_code_is_returned() {
    let script = r#"printf '%s %s' "$DATABASE_URL" "$REDIS_URL"; exit 7"#;
    let output = program()
        .args(["services", "--", "sh", "-c", script])
        .env("DATABASE_URL", "postgres://outside.example/errand")
        .env("REDIS_URL", "redis://outside.example")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let urls = String::from_utf8(output.stdout).unwrap();
    assert!(
        urls.starts_with("postgres://errand:") && urls.contains("@127.0.0.1:"),
        "{urls}"
    );
    assert!(urls.contains(" redis://127.0.0.1:"), "{urls}");
}

#[test]
fn a_durable_start_locks_its_directory_stops_in_order_and_keeps_its_addresses() {
    let dir = Dir::new();
    let first = Running::start(&dir);
    let exports = first.exports.clone();

    let second = durable(&dir).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(
        message.contains(&format!("another quickstart (process {})", first.child.id())),
        "{message}"
    );

    let pids = recorded_pids(&dir);
    assert_eq!(pids.len(), 2);
    assert_eq!(first.stop(Signal::SIGTERM), Some(0));
    assert!(
        pids.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    );
    assert!(recorded_pids(&dir).is_empty());

    let again = Running::start(&dir);
    assert_eq!(again.exports, exports);
    assert_eq!(again.stop(Signal::SIGINT), Some(0));
}

#[test]
fn a_start_after_a_killed_one_stops_the_leftover_processes() {
    let dir = Dir::new();
    let first = Running::start(&dir);
    let pids = recorded_pids(&dir);
    assert_eq!(first.stop(Signal::SIGKILL), None);

    let again = Running::start(&dir);
    let new_pids = recorded_pids(&dir);
    assert_eq!(new_pids.len(), 2);
    for pid in pids {
        assert!(!new_pids.contains(&pid));
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(command.is_empty(), "process {pid} still runs");
    }
    assert_eq!(again.stop(Signal::SIGTERM), Some(0));
}

#[test]
fn an_invalid_flag_is_exit_code_2() {
    let output = program().args(["--workers", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = program()
        .args(["--database-url", "postgres://outside.example/errand"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn missing_packages_are_reported_and_nothing_is_started() {
    let dir = Dir::new();
    let output = durable(&dir)
        .arg("--no-install")
        .env("ERRAND_TEST_REDIS_SERVER", dir.path().join("nowhere"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("Redis is not installed"), "{message}");
    assert!(!dir.path().join("data").exists());
}

/// A script that replaces a system program.
fn fake(dir: &Dir, name: &str, script: &str) {
    let path = dir.path().join("fake").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn missing_packages_are_installed_if_possible() {
    let dir = Dir::new();
    let (server, log) = (dir.path().join("redis-server"), dir.path().join("apt.log"));
    let real = find_here().unwrap().redis_server;
    let install = format!(
        "echo \"$DEBIAN_FRONTEND $*\" >> '{}'\ntest \"$1\" = update || ln -s '{}' '{}'",
        log.display(),
        real.display(),
        server.display()
    );
    fake(&dir, "apt-get", &install);
    // Only an ordinary user's start uses sudo.
    fake(&dir, "sudo", "shift; exec \"$@\"");
    let path = format!(
        "{}:{}",
        dir.path().join("fake").display(),
        std::env::var_os("PATH").unwrap().display()
    );
    let output = durable(&dir)
        .args(["--", "true"])
        .env("PATH", path)
        .env("ERRAND_TEST_REDIS_SERVER", &server)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let install = "install -y --no-install-recommends postgresql redis-server";
    assert_eq!(
        std::fs::read_to_string(log).unwrap(),
        format!("noninteractive update\nnoninteractive {install}\n")
    );
}

#[test]
fn a_failed_installation_is_reported_with_the_command() {
    let dir = Dir::new();
    fake(&dir, "apt-get", "echo 'E: no network' >&2; exit 100");
    fake(&dir, "sudo", "shift; exec \"$@\"");
    let path = format!(
        "{}:{}",
        dir.path().join("fake").display(),
        std::env::var_os("PATH").unwrap().display()
    );
    let output = durable(&dir)
        .env("PATH", path)
        .env("ERRAND_TEST_REDIS_SERVER", dir.path().join("nowhere"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("E: no network") && message.contains("Install the packages"),
        "{message}"
    );
    assert!(!dir.path().join("data").exists());
}
