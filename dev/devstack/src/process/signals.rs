//! The signals that ask a program to stop: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::error::{Error, Result};

/// Receives these signals.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// Starts receiving signals. They no longer end the process by themselves.
    pub fn listen() -> Result<Self> {
        let on = |kind| unix::signal(kind).map_err(Error::io("listen for signals"));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
        }
    }

    /// Waits for `work` and cancels it if a signal arrives first.
    pub async fn unless<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            _ = self.next() => Err(Error::Interrupted),
        }
    }
}
