//! Keeps the programs running: a dead one is reported and started again, with a
//! pause that grows, until it has died too often.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::programs::Program;
use super::restarts::Restarts;
use crate::error::Result;
use crate::process::Process;
use crate::say::tell;

/// More than the programs' own grace time.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// A group of running programs that are stopped together.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    kept: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl Keeper {
    /// Takes over a program that is ready.
    pub(super) fn keep(&mut self, program: Program, process: Process) {
        self.kept.spawn(keep(program, process, self.stop.clone()));
    }

    /// Waits until one of them has died too often, or could not be started
    /// again. For ever if there is none.
    pub(super) async fn gave_up(&mut self) -> Result<()> {
        match self.kept.join_next().await {
            Some(Ok(ended)) => ended,
            // A keeper that panicked or was aborted has dropped its process.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Stops all of them at once and waits until they have ended.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.stop.cancel();
        let mut all = Ok(());
        while let Some(ended) = self.kept.join_next().await {
            if let Ok(ended) = ended {
                all = all.and(ended);
            }
        }
        all
    }
}

async fn keep(program: Program, mut process: Process, stop: CancellationToken) -> Result<()> {
    let mut restarts = Restarts::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                if !process.stop(STOP_GRACE).await? {
                    tell(&format!("{} did not end within {} s and was killed.", program.name(), STOP_GRACE.as_secs()));
                }
                return Ok(());
            }
            status = process.wait() => {
                let fault = process.fault_of_end(status?);
                let Some(pause) = restarts.after_death(Instant::now()) else {
                    return Err(fault);
                };
                tell(&format!("{fault}\nStarting {} again in {:.1} s.", program.name(), pause.as_secs_f64()));
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep(pause) => process = program.spawn()?,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
