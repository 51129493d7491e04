//! The program itself: what `services` gives to a command, keeps and ends.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use errand_quickstart::packages::find_here;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::folder::Folder;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_errand-quickstart"))
}

/// `services --durable` on the folder, running.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    exports: String,
}

impl Running {
    fn start(folder: &Folder) -> Self {
        let mut child = durable(folder).stdout(Stdio::piped()).spawn().unwrap();
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

    /// Sends the signal and gives the exit code once it has ended.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let mut rest = String::new();
        self.output.read_line(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn durable(folder: &Folder) -> Command {
    let mut command = program();
    command
        .args(["services", "--durable", "--data-dir"])
        .arg(folder.path().join("data"));
    command
}

fn noted_pids(folder: &Folder) -> Vec<String> {
    let run = folder.path().join("data/run");
    let notes = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    notes
        .map(|note| {
            std::fs::read_to_string(note)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn a_command_gets_private_services_whatever_the_environment_says_and_its_exit_code_is_ours() {
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
fn a_durable_start_keeps_others_out_ends_in_good_order_and_comes_back_the_same() {
    let folder = Folder::new();
    let first = Running::start(&folder);
    let exports = first.exports.clone();

    let second = durable(&folder).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(
        message.contains(&format!("another quick start (process {})", first.child.id())),
        "{message}"
    );

    let pids = noted_pids(&folder);
    assert_eq!(pids.len(), 2);
    assert_eq!(first.end(Signal::SIGTERM), Some(0));
    assert!(
        pids.iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    );
    assert!(noted_pids(&folder).is_empty());

    let again = Running::start(&folder);
    assert_eq!(again.exports, exports);
    assert_eq!(again.end(Signal::SIGINT), Some(0));
}

#[test]
fn a_start_after_a_killed_one_works_and_leaves_one_of_each() {
    let folder = Folder::new();
    let first = Running::start(&folder);
    let pids = noted_pids(&folder);
    assert_eq!(first.end(Signal::SIGKILL), None);

    let again = Running::start(&folder);
    let new_pids = noted_pids(&folder);
    assert_eq!(new_pids.len(), 2);
    for pid in pids {
        assert!(!new_pids.contains(&pid));
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(command.is_empty(), "process {pid} still runs");
    }
    assert_eq!(again.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_bad_flag_is_exit_code_2() {
    let output = program().args(["--workers", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = program()
        .args(["--database-url", "postgres://outside.example/errand"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn missing_packages_are_said_and_nothing_is_started() {
    let folder = Folder::new();
    let output = durable(&folder)
        .arg("--no-install")
        .env("ERRAND_TEST_REDIS_SERVER", folder.path().join("nowhere"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("Redis is not installed"), "{message}");
    assert!(!folder.path().join("data").exists());
}

/// A script in the folder's `fake` that stands for a system program.
fn fake(folder: &Folder, name: &str, script: &str) {
    let path = folder.path().join("fake").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn missing_packages_are_installed_where_that_is_possible() {
    let folder = Folder::new();
    let (server, log) = (folder.path().join("redis-server"), folder.path().join("apt.log"));
    let real = find_here().unwrap().redis_server;
    let install = format!(
        "echo \"$DEBIAN_FRONTEND $*\" >> '{}'\ntest \"$1\" = update || ln -s '{}' '{}'",
        log.display(),
        real.display(),
        server.display()
    );
    fake(&folder, "apt-get", &install);
    // What an ordinary user's start goes through; root's needs none.
    fake(&folder, "sudo", "shift; exec \"$@\"");
    let path = format!(
        "{}:{}",
        folder.path().join("fake").display(),
        std::env::var_os("PATH").unwrap().display()
    );
    let output = durable(&folder)
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
fn a_failed_installation_says_the_command() {
    let folder = Folder::new();
    fake(&folder, "apt-get", "echo 'E: no network' >&2; exit 100");
    fake(&folder, "sudo", "shift; exec \"$@\"");
    let path = format!(
        "{}:{}",
        folder.path().join("fake").display(),
        std::env::var_os("PATH").unwrap().display()
    );
    let output = durable(&folder)
        .env("PATH", path)
        .env("ERRAND_TEST_REDIS_SERVER", folder.path().join("nowhere"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("E: no network") && message.contains("by hand"),
        "{message}"
    );
    assert!(!folder.path().join("data").exists());
}
