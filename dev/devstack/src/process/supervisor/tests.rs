//! Supervises shell scripts in place of Errand's programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

use super::*;
use crate::client::canned::Canned;
use crate::files::secret::Secret;
use crate::files::temp_dir::TempDir;
use crate::programs::Launcher;
use crate::services::Urls;

const GRACE: Duration = Duration::from_mins(1);

fn ignore(_message: &str) {}

/// A directory for one test.
struct Shell {
    dir: TempDir,
}

impl Shell {
    fn new() -> Self {
        Self {
            dir: TempDir::new(None).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, port: u16, script: &str) -> Program {
        let path = self.path("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let launcher = Launcher {
            dir: self.dir.path().to_owned(),
            log_dir: self.dir.path().to_owned(),
            pid_dir: Some(self.dir.path().to_owned()),
            urls: Urls {
                database: "postgres://d".to_owned(),
                redis: "redis://r".to_owned(),
            },
            jwt_secret: Secret::random(16).unwrap(),
            env: Vec::new(),
            inherits_env: true,
            ready_within: GRACE,
            tied_to_us: false,
        };
        launcher.model("model", &path, port)
    }

    /// A script that writes its process id to the pipe and waits.
    fn waiting_script(&self) -> (String, Lines<BufReader<pipe::Receiver>>) {
        let pipe = self.path("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        // Opened for writing too, so that it never ends.
        let receiver = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&pipe)
            .unwrap();
        let script = format!("echo $$ > '{}'; exec sleep 600", pipe.display());
        (script, BufReader::new(receiver).lines())
    }
}

async fn next_pid(pids: &mut Lines<BufReader<pipe::Receiver>>) -> i32 {
    pids.next_line().await.unwrap().unwrap().parse().unwrap()
}

fn is_running(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_killed_program_is_started_again_and_a_stopped_one_is_not() {
    let shell = Shell::new();
    let server = Canned::serve(vec![(404, "{}")]);
    let (script, mut pids) = shell.waiting_script();
    let mut supervisor = Supervisor::new(RestartPolicy::Backoff, GRACE, ignore);
    let program = supervisor
        .start(shell.program(server.port, &script))
        .await
        .unwrap();
    let first = next_pid(&mut pids).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let second = next_pid(&mut pids).await;
    assert_ne!(first, second);
    assert_eq!(program.exits().len(), 1);
    supervisor.stop().await.unwrap();
    assert!(!is_running(second));
    assert!(!shell.path("model.pid").exists());
}

#[tokio::test]
async fn a_program_that_is_held_down_starts_again_when_it_is_released() {
    let shell = Shell::new();
    let (script, mut pids) = shell.waiting_script();
    let mut supervisor = Supervisor::new(RestartPolicy::Always(Duration::ZERO), GRACE, ignore);
    let program = supervisor.launch(shell.program(1, &script)).unwrap();
    let first = next_pid(&mut pids).await;
    program.hold_down();
    while program.pid().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(program.starts(), 1);
    program.release();
    let second = next_pid(&mut pids).await;
    assert_ne!(first, second);
    supervisor.stop().await.unwrap();
    assert_eq!((program.starts(), program.exits().len()), (2, 2));
    assert!(program.errors().is_empty());
}

#[tokio::test]
async fn a_program_that_may_not_exit_fails_the_supervisor_when_it_does() {
    let shell = Shell::new();
    let mut supervisor = Supervisor::new(RestartPolicy::Never, GRACE, ignore);
    supervisor
        .launch(shell.program(1, "echo gone >&2; exit 3"))
        .unwrap();
    let message = supervisor.failed().await.to_string();
    assert!(message.contains("model exited (exit status: 3)"), "{message}");
    assert!(message.ends_with("  gone"), "{message}");
}

#[tokio::test]
async fn a_program_that_exits_before_it_is_ready_is_reported_with_its_last_lines() {
    let shell = Shell::new();
    let port = crate::ports::any_free().unwrap();
    let script = "echo 'error: OPENAI_API_KEY: required' >&2; exit 2";
    let mut supervisor = Supervisor::new(RestartPolicy::Backoff, GRACE, ignore);
    let message = supervisor
        .start(shell.program(port, script))
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("model exited (exit status: 2)"), "{message}");
    assert!(
        message.ends_with("  error: OPENAI_API_KEY: required"),
        "{message}"
    );
}
