//! An MCP server as a child process: its environment, the log of its standard error, and its termination with all
//! descendants.

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

/// Variables that the child inherits from the worker's environment.
const INHERITED: [&str; 2] = ["PATH", "HOME"];
/// Time for the child to exit after its standard input is closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum length of a logged line in bytes.
const MAX_LINE_BYTES: usize = 500;
/// Maximum number of logged lines per [`WINDOW`].
const MAX_LINES: u32 = 200;
const WINDOW: Duration = Duration::from_mins(1);

/// A running child. Dropping it kills the whole process group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Option<Pid>,
    last_line: LastLine,
}

/// The last line of standard error, which often explains a failure.
type LastLine = Arc<Mutex<String>>;

impl Process {
    /// Starts a program in its own process group and logs its standard error at level `debug`.
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
        let missing = || io::Error::other("missing pipe");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let last_line = LastLine::default();
        lifecycle.spawn_until_stopped(log_lines(server.to_owned(), stderr, Arc::clone(&last_line)));
        let process = Self {
            child,
            group,
            last_line,
        };
        Ok((process, stdout, stdin))
    }

    /// The last line of standard error, or an empty text.
    pub(crate) fn last_line(&self) -> String {
        let line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        line.clone()
    }

    /// Waits briefly for the child to exit, then kills it.
    pub(crate) async fn stop(mut self) {
        if timeout(EXIT_TIMEOUT, self.child.wait()).await.is_err() {
            tracing::debug!("child did not exit in time");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.group
            && let Err(error) = killpg(group, Signal::SIGKILL)
        {
            tracing::trace!(%error, "process group of child is already gone");
        }
    }
}

/// Logs the lines of a stream until it ends, within limits.
async fn log_lines(server: String, mut stream: impl AsyncRead + Unpin, last_line: LastLine) {
    let mut buffer = [0; 4096];
    let mut line = Vec::with_capacity(MAX_LINE_BYTES);
    let mut limit = LineLimit::new();
    while let Ok(bytes) = stream.read(&mut buffer).await {
        if bytes == 0 {
            break;
        }
        for byte in buffer.iter().take(bytes) {
            match byte {
                b'\n' => {
                    log_line(&server, &line, &mut limit, &last_line);
                    line.clear();
                }
                byte if line.len() < MAX_LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    log_line(&server, &line, &mut limit, &last_line);
}

fn log_line(server: &str, line: &[u8], limit: &mut LineLimit, last_line: &LastLine) {
    let line = text::line(&String::from_utf8_lossy(line), MAX_LINE_BYTES);
    if line.is_empty() {
        return;
    }
    if limit.allows(Instant::now()) {
        tracing::debug!(mcp.server = server, line, "MCP server wrote to standard error");
    }
    *last_line.lock().unwrap_or_else(PoisonError::into_inner) = line;
}

/// Limits the number of lines per time window.
struct LineLimit {
    window_start: Instant,
    lines: u32,
}

impl LineLimit {
    fn new() -> Self {
        Self {
            window_start: Instant::now(),
            lines: 0,
        }
    }

    fn allows(&mut self, now: Instant) -> bool {
        if now.duration_since(self.window_start) >= WINDOW {
            *self = Self {
                window_start: now,
                lines: 0,
            };
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= MAX_LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_limit_applies_per_window() {
        let mut limit = LineLimit::new();
        let now = Instant::now();
        assert_eq!((0..1000).filter(|_| limit.allows(now)).count(), 200);
        assert!(limit.allows(now + WINDOW));
    }

    #[tokio::test]
    async fn truncates_long_lines_and_keeps_the_last_one() {
        let last = LastLine::default();
        let output = format!("{}\nthe\0 end", "x".repeat(10_000));
        log_lines("a".to_owned(), output.as_bytes(), Arc::clone(&last)).await;
        assert_eq!(*last.lock().unwrap(), "the end");
    }

    fn start(script: &str) -> (Process, ChildStdout, ChildStdin) {
        let args = ["-c".to_owned(), script.to_owned()];
        let env = [("GIVEN".to_owned(), Secret::new("yes"))];
        Process::start("a", "sh", &args, &env, &Lifecycle::new()).unwrap()
    }

    #[tokio::test]
    async fn child_inherits_only_allowed_variables() {
        let (process, mut stdout, stdin) = start("env");
        let mut env = String::new();
        stdout.read_to_string(&mut env).await.unwrap();
        let mut names: Vec<_> = env
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name)
            .collect();
        // Variables that the shell itself sets.
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["GIVEN", "HOME", "PATH"]);
        drop(stdin);
        process.stop().await;
    }

    #[tokio::test]
    async fn descendants_end_with_the_child() {
        let (process, mut stdout, _stdin) = start("sleep 1000 & echo $!; wait");
        let mut id = String::new();
        while !id.ends_with('\n') {
            id.push(char::from(stdout.read_u8().await.unwrap()));
        }
        let grandchild = std::path::PathBuf::from(format!("/proc/{}", id.trim()));
        assert!(grandchild.exists());
        drop(process);
        // The pipe closes when its last holder exits.
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).await.unwrap();
    }
}
