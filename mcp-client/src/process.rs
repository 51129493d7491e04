//! A server as a child process: what it is given, what it says beside the protocol, and its end with all of its own.

use std::{
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use errand_shared::service::{config::Secret, lifecycle::Lifecycle};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout},
};

use crate::text;

/// What it has of the worker's environment beside what it is given.
const INHERITED: [&str; 2] = ["PATH", "HOME"];
/// How long it has to end by itself once nobody speaks to it any more.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of a line in the log.
const LINE_BYTES: usize = 500;
/// Lines in the log in each [`WINDOW`].
const LINES: u32 = 200;
const WINDOW: Duration = Duration::from_mins(1);

/// A running child. Dropping it kills it and whatever it has started, unless that has left its group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Option<Pid>,
    last_line: LastLine,
}

/// What it has said last on its standard error, for when it says nothing else.
type LastLine = Arc<Mutex<String>>;

impl Process {
    /// Starts a program in a group of its own. Its standard error goes to the log, as `debug`.
    pub(crate) fn start(
        server: &str,
        command: &str,
        args: &[String],
        env: &[(String, Secret)],
        lifecycle: &Lifecycle,
    ) -> io::Result<(Self, ChildStdout, ChildStdin)> {
        let mut program = Command::new(command);
        program.args(args).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                program.env(name, value);
            }
        }
        program.envs(env.iter().map(|(name, value)| (name, value.reveal())));
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let missing = || io::Error::other("a pipe to it is missing");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let last_line = LastLine::default();
        lifecycle.spawn_until_stopped(log(server.to_owned(), stderr, Arc::clone(&last_line)));
        let process = Self {
            child,
            group,
            last_line,
        };
        Ok((process, stdout, stdin))
    }

    /// Its last line on standard error; empty if there was none.
    pub(crate) fn last_line(&self) -> String {
        let line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        line.clone()
    }

    /// Waits for a moment that it ends by itself, then ends it.
    pub(crate) async fn end(mut self) {
        if timeout(FAREWELL, self.child.wait()).await.is_err() {
            tracing::debug!("a child did not end by itself");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.group
            && let Err(error) = killpg(group, Signal::SIGKILL)
        {
            tracing::trace!(%error, "nothing is left of a child");
        }
    }
}

/// Logs the lines of a stream, within bounds, until it ends.
async fn log(server: String, mut stream: impl AsyncRead + Unpin, last_line: LastLine) {
    let mut buffer = [0; 4096];
    let mut line = Vec::with_capacity(LINE_BYTES);
    let mut bound = Bound::new();
    while let Ok(bytes) = stream.read(&mut buffer).await {
        if bytes == 0 {
            break;
        }
        for byte in buffer.iter().take(bytes) {
            match byte {
                b'\n' => {
                    say(&server, &line, &mut bound, &last_line);
                    line.clear();
                }
                byte if line.len() < LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    say(&server, &line, &mut bound, &last_line);
}

fn say(server: &str, line: &[u8], bound: &mut Bound, last_line: &LastLine) {
    let line = text::line(&String::from_utf8_lossy(line), LINE_BYTES);
    if line.is_empty() {
        return;
    }
    if bound.admits(Instant::now()) {
        tracing::debug!(mcp.server = server, line, "an MCP server says");
    }
    *last_line.lock().unwrap_or_else(PoisonError::into_inner) = line;
}

/// How much may be said in a while.
struct Bound {
    since: Instant,
    lines: u32,
}

impl Bound {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            lines: 0,
        }
    }

    fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= WINDOW {
            *self = Self { since: now, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_logged_up_to_its_bound_and_again_later() {
        let mut bound = Bound::new();
        let now = Instant::now();
        assert_eq!((0..1000).filter(|_| bound.admits(now)).count(), 200);
        assert!(bound.admits(now + WINDOW));
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_last_one_is_kept() {
        let last = LastLine::default();
        let said = format!("{}\nthe\0 end", "x".repeat(10_000));
        log("a".to_owned(), said.as_bytes(), Arc::clone(&last)).await;
        assert_eq!(*last.lock().unwrap(), "the end");
    }

    fn start(script: &str) -> (Process, ChildStdout, ChildStdin) {
        let args = ["-c".to_owned(), script.to_owned()];
        let env = [("GIVEN".to_owned(), Secret::new("yes"))];
        Process::start("a", "sh", &args, &env, &Lifecycle::new()).unwrap()
    }

    #[tokio::test]
    async fn a_child_has_no_more_of_the_environment_than_it_is_given() {
        let (process, mut stdout, stdin) = start("env");
        let mut env = String::new();
        stdout.read_to_string(&mut env).await.unwrap();
        let mut names: Vec<_> = env
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        // What a shell sets by itself.
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["GIVEN", "HOME", "PATH"]);
        drop(stdin);
        process.end().await;
    }

    #[tokio::test]
    async fn whatever_a_child_has_started_ends_with_it() {
        let (process, mut stdout, _stdin) = start("sleep 1000 & echo $!; wait");
        let mut id = String::new();
        while !id.ends_with('\n') {
            id.push(char::from(stdout.read_u8().await.unwrap()));
        }
        let grandchild = std::path::PathBuf::from(format!("/proc/{}", id.trim()));
        assert!(grandchild.exists());
        drop(process);
        // The pipe is closed by the last one that has it.
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.unwrap();
    }
}
