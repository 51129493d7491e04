//! A worker as a process of its own, which can be frozen and killed.

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

/// A worker's process. It is killed when dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    /// The id under which it holds its leases.
    pub id: Uuid,
    child: Child,
    log: Log,
}

/// What it has logged, as JSON.
type Log = Arc<Mutex<Vec<Value>>>;

impl WorkerProcess {
    /// Starts the program with the arguments and waits until it says who it is. Of two arguments of the same name the
    /// last one counts.
    ///
    /// # Panics
    /// If it does not start.
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
        process.logged("the worker starts").await;
        let started = process.lines("the worker starts");
        let id = started.first().and_then(|line| line.get("worker.id")?.as_str());
        process.id = id.unwrap().parse().unwrap();
        process
    }

    /// Waits until it has logged a line whose message contains `text`.
    pub async fn logged(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), || async {
            !self.lines(text).is_empty()
        })
        .await;
    }

    /// The lines so far whose message contains `text`.
    pub fn lines(&self, text: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |line: &&Value| {
            line.get("message")
                .and_then(Value::as_str)
                .is_some_and(|message| message.contains(text))
        };
        log.iter().filter(has).cloned().collect()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Panics
    /// If the system does not do as asked.
    #[expect(
        clippy::unwrap_used,
        reason = "a test that can't kill its worker can only fail"
    )]
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end and gives its exit code; none if a signal ended it.
    ///
    /// # Panics
    /// If it does not end within `patience`.
    #[expect(
        clippy::unwrap_used,
        reason = "a test whose worker does not end can only fail"
    )]
    pub async fn exit_code(&mut self, patience: Duration) -> Option<i32> {
        timeout(patience, self.child.wait())
            .await
            .unwrap()
            .unwrap()
            .code()
    }

    #[expect(
        clippy::unwrap_used,
        reason = "a test that can't signal its worker can only fail"
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

#[expect(
    clippy::disallowed_methods,
    reason = "a test's runtime ends what the test leaves"
)]
fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(future));
}
