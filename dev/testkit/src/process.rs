//! A worker in a process of its own, which can be paused and killed.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use errand_shared::Uuid;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use crate::eventually::eventually;

/// A worker process. Dropping it kills the process.
#[derive(Debug)]
pub struct WorkerProcess {
    /// The id with which the worker holds its leases.
    pub id: Uuid,
    child: Child,
    log: Log,
}

/// The lines of the log, as JSON.
type Log = Arc<Mutex<Vec<Value>>>;

impl WorkerProcess {
    /// Starts the program and waits until it has logged its id. Of several arguments with the same name the last one
    /// counts.
    ///
    /// # Panics
    /// If the program does not start.
    #[expect(clippy::unwrap_used, reason = "a test without its worker can only fail")]
    pub async fn start(program: &str, arguments: &[String]) -> Self {
        let log_arguments = ["--log-format=json".to_owned(), "--log-filter=info".to_owned()];
        let named: HashMap<_, _> = arguments
            .iter()
            .chain(&log_arguments)
            .map(|argument| (argument.split('=').next().unwrap_or_default(), argument))
            .collect();
        let mut child = Command::new(program)
            .args(named.values())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Log::default();
        spawn(read(child.stderr.take().unwrap(), Arc::clone(&log)));
        let mut process = Self {
            id: Uuid::nil(),
            child,
            log,
        };
        process.logged("worker starting").await;
        let started = process.lines("worker starting");
        let id = started.first().and_then(|line| line.get("worker.id")?.as_str());
        process.id = id.unwrap().parse().unwrap();
        process
    }

    /// Waits until a line is logged whose message contains `text`.
    pub async fn logged(&self, text: &str) {
        eventually(&format!("the log contains {text:?}"), || async {
            !self.lines(text).is_empty()
        })
        .await;
    }

    /// The lines whose message contains `text`.
    pub fn lines(&self, text: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |line: &&Value| {
            line.get("message")
                .and_then(Value::as_str)
                .is_some_and(|message| message.contains(text))
        };
        log.iter().filter(has).cloned().collect()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Pauses the process (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Resumes the process (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills the process (SIGKILL) and waits until it has exited.
    ///
    /// # Panics
    /// If it cannot be killed.
    #[expect(
        clippy::unwrap_used,
        reason = "a test that cannot kill its worker can only fail"
    )]
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until the process exits. Returns its exit code, or `None` if a signal killed it.
    ///
    /// # Panics
    /// If it does not exit in time.
    #[expect(
        clippy::unwrap_used,
        reason = "a test whose worker does not exit can only fail"
    )]
    pub async fn exit_code(&mut self, within: Duration) -> Option<i32> {
        timeout(within, self.child.wait()).await.unwrap().unwrap().code()
    }

    #[expect(
        clippy::unwrap_used,
        reason = "a test that cannot signal its worker can only fail"
    )]
    fn signal(&self, signal: Signal) {
        let pid = self.child.id().unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }
}

async fn read(output: ChildStderr, log: Log) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

#[expect(clippy::disallowed_methods, reason = "the test's runtime ends the task")]
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(future));
}
