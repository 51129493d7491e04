//! Injects faults: begins each, holds it for its time, ends it, and returns when it ended.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::{RngExt, rngs::SmallRng};
use serde_json::{Value, json};
use sqlx::Row;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::{
    Result,
    args::Round,
    client::{Client, SendMode, User},
    failpoint::{self, Action, Failpoint},
    fault::Fault,
    load, model,
    program::Program,
    proxy::Mode,
    recovery,
    stack::Stack,
};

/// How long an armed failpoint may take to be reached under load.
const REACHED_WITHIN: Duration = Duration::from_secs(20);
/// The interval of checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Ends all sessions except the one that executes this.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Injects faults into a stack.
pub(crate) struct Injector<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) client: &'a Client,
    /// Sends the messages that reach failpoints which the load seldom reaches.
    pub(crate) user: &'a User,
    pub(crate) round: Round,
    pub(crate) rng: SmallRng,
    /// The worker that was killed last with claimed runs, and when.
    pub(crate) killed: Option<(Uuid, Instant)>,
}

impl Injector<'_> {
    /// Injects a fault. Returns when it ended.
    pub(crate) async fn inject(&mut self, fault: Fault) -> Result<Instant> {
        let hold = fault.duration(self.round);
        let stack = self.stack;
        match fault {
            Fault::KillApi => self.choose(&stack.apis)?.signal(Signal::SIGKILL),
            Fault::KillWorker => return self.kill_worker().await,
            Fault::KillAll => stack
                .programs()
                .for_each(|program| program.signal(Signal::SIGKILL)),
            Fault::KillAt(failpoint) => return self.kill_at(failpoint).await,
            Fault::PauseWorker => {
                let worker = self.choose(&stack.workers)?;
                worker.signal(Signal::SIGSTOP);
                sleep(hold).await;
                worker.signal(Signal::SIGCONT);
            }
            Fault::PauseAt(failpoint) => return self.pause_at(failpoint, hold).await,
            Fault::RollingRestart => self.rolling_restart().await,
            Fault::WorkersGone => {
                stack.workers.iter().for_each(Program::hold_down);
                sleep(hold).await;
                stack.workers.iter().for_each(Program::release);
            }
            Fault::RedisFlush => stack.redis_command(&["FLUSHALL"]).await?,
            Fault::RedisRestart => stack.redis.lock().await.restart().await?,
            Fault::RedisPause(_) => {
                let mut redis = stack.redis.lock().await;
                redis.pause()?;
                sleep(hold).await;
                redis.resume()?;
            }
            Fault::RedisFull => {
                stack
                    .redis_command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
                    .await?;
                stack.redis_command(&["CONFIG", "SET", "maxmemory", "1"]).await?;
                sleep(hold).await;
                stack.redis_command(&["CONFIG", "SET", "maxmemory", "0"]).await?;
            }
            Fault::PostgresRestart => stack.postgres.lock().await.restart().await?,
            Fault::PostgresCrash => {
                let mut postgres = stack.postgres.lock().await;
                postgres.crash().await?;
                postgres.start_again().await?;
            }
            Fault::SessionsEnded => stack.execute(END_SESSIONS).await?,
            Fault::ReadOnly => self.read_only(hold).await?,
            Fault::TableLocked => {
                let seconds = hold.as_secs();
                stack
                    .execute(&format!(
                        "BEGIN; LOCK TABLE runs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
                    ))
                    .await?;
            }
            Fault::NetworkSlow => self.network(Mode::Slow(Duration::from_millis(150)), hold).await,
            Fault::NetworkReset => self.network(Mode::Reset, hold).await,
            Fault::AnswersLost => self.network(Mode::LoseAnswers, hold).await,
            Fault::ModelDown => self.model(&model::disconnect(), hold).await?,
            Fault::ModelSlow => {
                let slow = model::demo_after(Duration::from_secs(3));
                self.model(&slow, hold).await?;
            }
            Fault::ModelBusy => self.model(&model::rate_limited(), hold).await?,
            Fault::ModelError => self.model(&model::status(500), hold).await?,
            Fault::ModelMalformed => self.model(&model::malformed(), hold).await?,
            Fault::ModelEndless => {
                let endless = model::endless(Duration::from_millis(50));
                self.model(&endless, hold).await?;
            }
        }
        Ok(Instant::now())
    }

    fn choose<'p>(&mut self, programs: &'p [Program]) -> Result<&'p Program> {
        let index = self.rng.random_range(0..programs.len().max(1));
        programs.get(index).ok_or_else(|| "no such program".into())
    }

    /// Kills a worker that has claimed runs.
    async fn kill_worker(&mut self) -> Result<Instant> {
        // With long model calls every worker has claimed runs.
        let slow = model::demo_after(Duration::from_secs(1));
        self.stack.model.always(&slow).await?;
        sleep(Duration::from_secs(1)).await;
        let worker = self.choose(&self.stack.workers)?;
        let id = worker.worker_id();
        worker.signal(Signal::SIGKILL);
        let killed = Instant::now();
        self.killed = id.map(|id| (id, killed));
        self.stack.model.reset().await?;
        Ok(killed)
    }

    /// How long it took until the runs of the worker that was killed last were rescued, if it had any. At most 10 s are
    /// guaranteed.
    pub(crate) async fn rescue_time(&mut self) -> Result<Option<Duration>> {
        let Some((id, killed)) = self.killed.take() else {
            return Ok(None);
        };
        let claimed = format!("SELECT 1 FROM runs WHERE worker_id = '{id}' AND status = 'running'");
        let mut took = None;
        while !self.stack.rows(&claimed).await?.is_empty() {
            took = Some(killed.elapsed());
            if killed.elapsed() > recovery::RECOVERED_WITHIN {
                self.client
                    .record
                    .violation("a dead worker's runs are rescued within 10 s", id.to_string());
                break;
            }
            sleep(CHECK_INTERVAL).await;
        }
        Ok(took)
    }

    /// Makes the database read-only for a time.
    async fn read_only(&self, hold: Duration) -> Result<()> {
        let set = format!("ALTER DATABASE errand SET default_transaction_read_only = on; {END_SESSIONS}");
        self.stack.execute(&set).await?;
        sleep(hold).await;
        let reset = format!("ALTER DATABASE errand RESET default_transaction_read_only; {END_SESSIONS}");
        self.stack.execute(&reset).await
    }

    /// Arms a failpoint in every process that can reach it, and waits until one of them has killed itself.
    async fn kill_at(&mut self, failpoint: Failpoint) -> Result<Instant> {
        let programs = if failpoint.is_in_api {
            &self.stack.apis
        } else {
            &self.stack.workers
        };
        let reached = self.reach(failpoint, Action::Kill, programs).await?;
        let ended = Instant::now();
        if reached.is_none() {
            self.client
                .record
                .violation("every failpoint is reached", failpoint.name);
        }
        Ok(ended)
    }

    /// The first of the programs that reaches the failpoint.
    async fn reach<'p>(
        &mut self,
        failpoint: Failpoint,
        action: Action,
        programs: &'p [Program],
    ) -> Result<Option<&'p Program>> {
        for program in programs {
            program.arm(failpoint, action)?;
        }
        let mut attempts = 0;
        let began = Instant::now();
        let reached = loop {
            if let Some(program) = programs.iter().find(|program| program.has_reached_failpoint()) {
                break Some(program);
            }
            if began.elapsed() > REACHED_WITHIN {
                break None;
            }
            // The load alone reaches most failpoints.
            if attempts < 4 && began.elapsed() > Duration::from_secs(4 * attempts) {
                self.drive_to(failpoint, programs).await?;
                attempts += 1;
            }
            sleep(CHECK_INTERVAL).await;
        };
        for program in programs {
            program.disarm();
        }
        Ok(reached)
    }

    /// Causes what reaches a failpoint that the load seldom reaches.
    async fn drive_to(&mut self, failpoint: Failpoint, programs: &[Program]) -> Result<()> {
        if failpoint == failpoint::RETRY_COMMITTED {
            self.drive_retry().await?;
        } else if failpoint == failpoint::MCP_CALL_STARTED || failpoint == failpoint::MCP_CALL_ANSWERED {
            self.drive_mcp_call().await?;
        } else if failpoint == failpoint::REQUEUED {
            // A worker must die with claimed runs.
            self.choose(programs)?.signal(Signal::SIGKILL);
        }
        Ok(())
    }

    /// Cancels a run before it can be answered, then retries it.
    async fn drive_retry(&self) -> Result<()> {
        let slow = model::demo_after(Duration::from_secs(2));
        self.stack.model.always(&slow).await?;
        let mut sent = load::message(self.user, false, None, 0);
        if self
            .client
            .deliver(self.user, &mut sent, 0, SendMode::Async)
            .await
        {
            self.client.cancel(self.user, &mut sent, 1).await;
            self.client.follow(self.user, &mut sent, 0).await;
            self.stack.model.reset().await?;
            self.client.retry(self.user, &mut sent, 1).await;
            self.client.follow(self.user, &mut sent, 0).await;
            self.client.record.add(sent);
        }
        self.stack.model.reset().await
    }

    /// Has the model call a tool of the MCP server.
    async fn drive_mcp_call(&self) -> Result<()> {
        let mut sent = load::message(self.user, false, None, 0);
        let pay = model::tool_call("shop__pay", &json!({ "amount": 1 }));
        self.stack
            .model
            .when(&sent.text, &[pay, model::reply("Paid.")])
            .await?;
        if self
            .client
            .deliver(self.user, &mut sent, 0, SendMode::Async)
            .await
        {
            self.client.follow(self.user, &mut sent, 1).await;
            self.client.record.add(sent);
        }
        self.stack.model.reset().await
    }

    /// Pauses a worker at a failpoint until it is considered dead and another worker has claimed its run, then resumes
    /// it. The comparison shows whether the resumed worker wrote anything.
    async fn pause_at(&mut self, failpoint: Failpoint, hold: Duration) -> Result<Instant> {
        match self.reach(failpoint, Action::Pause, &self.stack.workers).await? {
            Some(worker) => {
                // The next attempt must be in progress when the first one resumes.
                let slow = model::demo_after(Duration::from_secs(3));
                self.stack.model.always(&slow).await?;
                self.wait_until_rescued(worker, hold * 2).await?;
                worker.signal(Signal::SIGCONT);
                self.stack.model.reset().await?;
            }
            None => self
                .client
                .record
                .violation("every failpoint is reached", failpoint.name),
        }
        // Another worker may have paused before its failpoint was disarmed.
        self.stack
            .workers
            .iter()
            .for_each(|worker| worker.signal(Signal::SIGCONT));
        Ok(Instant::now())
    }

    /// Waits until another worker runs one of the runs that the worker has claimed.
    async fn wait_until_rescued(&self, worker: &Program, timeout: Duration) -> Result<()> {
        let Some(id) = worker.worker_id() else {
            return Ok(());
        };
        let claimed = self
            .stack
            .rows(&format!(
                "SELECT id FROM runs WHERE worker_id = '{id}' AND status = 'running'"
            ))
            .await?;
        let claimed: Vec<_> = claimed
            .iter()
            .filter_map(|row| row.try_get::<Uuid, _>(0).ok())
            .map(|id| format!("'{id}'"))
            .collect();
        if claimed.is_empty() {
            return Ok(());
        }
        let rescued = format!(
            "SELECT 1 FROM runs WHERE id IN ({}) AND status = 'running' AND worker_id <> '{id}'",
            claimed.join(", ")
        );
        let began = Instant::now();
        while began.elapsed() < timeout && self.stack.rows(&rescued).await?.is_empty() {
            sleep(CHECK_INTERVAL).await;
        }
        Ok(())
    }

    /// Sends SIGTERM to one program after the other, and waits until each is ready again.
    async fn rolling_restart(&self) {
        for program in self.stack.programs() {
            let starts = program.starts();
            program.signal(Signal::SIGTERM);
            let restarted = timeout(Duration::from_secs(40), async {
                while program.starts() == starts {
                    sleep(CHECK_INTERVAL).await;
                }
            });
            if restarted.await.is_err() {
                self.client
                    .record
                    .violation("a program stops after SIGTERM", program.name());
            }
            if let Some(api) = self
                .stack
                .apis
                .iter()
                .position(|api| api.name() == program.name())
            {
                let ready = timeout(Duration::from_secs(10), async {
                    while !self.client.is_ready(api).await {
                        sleep(CHECK_INTERVAL).await;
                    }
                });
                if ready.await.is_err() {
                    self.client
                        .record
                        .violation("an API is ready within 10 s", program.name());
                }
            }
        }
    }

    async fn network(&self, mode: Mode, hold: Duration) {
        self.stack.postgres_proxy.set(mode);
        self.stack.redis_proxy.set(mode);
        sleep(hold).await;
        self.stack.postgres_proxy.set(Mode::Pass);
        self.stack.redis_proxy.set(Mode::Pass);
    }

    async fn model(&self, behaviour: &Value, hold: Duration) -> Result<()> {
        self.stack.model.always(behaviour).await?;
        sleep(hold).await;
        self.stack.model.reset().await
    }
}
