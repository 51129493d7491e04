//! Programs of shell, kept alive.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

use super::*;
use crate::backing::Urls;
use crate::folder::Folder;
use crate::http::canned::Canned;
use crate::scratch::Scratch;
use crate::secret::Secret;
use crate::up::programs::Common;

struct Shell {
    scratch: Scratch,
    folder: Folder,
    fifo: PathBuf,
}

impl Shell {
    fn new() -> Self {
        let scratch = Scratch::new(None).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let folder = Folder::open(None, scratch.path()).unwrap();
        let fifo = scratch.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        Self {
            scratch,
            folder,
            fifo,
        }
    }

    fn program(&self, port: u16, script: &str) -> Program {
        let path = self.scratch.path().join("errand-model");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let common = Common {
            folder: &self.folder,
            urls: Urls {
                database: "postgres://d".to_owned(),
                redis: "redis://r".to_owned(),
            },
            jwt_secret: Secret::random(16).unwrap(),
            ready_within: Duration::from_secs(30),
        };
        Program::model(&common, path, port)
    }
}

#[tokio::test]
async fn a_dead_program_is_started_again_and_a_stopped_one_is_not() {
    let shell = Shell::new();
    let server = Canned::serve(vec![(404, "{}")]);
    // Opened for writing too, so that it never comes to an end.
    let fifo = pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(&shell.fifo)
        .unwrap();
    let mut pids = BufReader::new(fifo).lines();
    let script = format!("echo $$ > '{}'; exec sleep 600", shell.fifo.display());
    let program = shell.program(server.port, &script);

    let mut keeper = Keeper::default();
    let process = program.start().await.unwrap();
    keeper.keep(program, process);
    let first: i32 = pids.next_line().await.unwrap().unwrap().parse().unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let second: i32 = pids.next_line().await.unwrap().unwrap().parse().unwrap();
    assert_ne!(first, second);
    keeper.stop().await.unwrap();
    assert!(kill(Pid::from_raw(second), None).is_err());
    assert_eq!(fs::read_dir(shell.folder.run()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_that_dies_before_it_is_ready_is_reported_with_its_last_lines() {
    let shell = Shell::new();
    let port = crate::ports::any_free().unwrap();
    let program = shell.program(port, "echo 'error: OPENAI_API_KEY: required' >&2; exit 2");
    let message = program.start().await.unwrap_err().to_string();
    assert!(message.contains("model ended (exit status: 2)"), "{message}");
    assert!(
        message.ends_with("  error: OPENAI_API_KEY: required"),
        "{message}"
    );
}
