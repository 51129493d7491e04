//! Does each fault: begins it, holds it, ends it. Returns the moment it ended.

use std::time::Duration;

use errand_model::{Behaviour, Script};
use errand_shared::{Uuid, service::failpoints::Failpoint};
use nix::sys::signal::Signal;
use rand::{RngExt, rngs::SmallRng};
use sqlx::Row;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Result,
    args::Round,
    client::{Client, Manner, User},
    kinds::Fault,
    load, probe,
    process::Program,
    proxy::Mode,
    stack::Stack,
};

/// How long an armed point may take to be reached under load.
const REACHED_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at whether it was.
const LOOK: Duration = Duration::from_millis(20);

/// Ends all sessions but one's own.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// What a fault is done to, and with.
pub(crate) struct Injector<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) client: &'a Client,
    /// Whose messages reach the points that the load seldom does.
    pub(crate) user: &'a User,
    pub(crate) round: Round,
    pub(crate) dice: SmallRng,
    /// The worker that was killed last with runs in hand, and when.
    pub(crate) dead: Option<(Uuid, Instant)>,
}

impl Injector<'_> {
    /// Does a fault and gives the moment of its end.
    pub(crate) async fn inject(&mut self, fault: Fault) -> Result<Instant> {
        let hold = fault.hold(self.round);
        let stack = self.stack;
        match fault {
            Fault::KillApi => self.one(&stack.apis)?.signal(Signal::SIGKILL),
            Fault::KillWorker => return self.kill_worker().await,
            Fault::KillAll => stack
                .programs()
                .for_each(|program| program.signal(Signal::SIGKILL)),
            Fault::At(point) => return self.kill_at(point).await,
            Fault::PauseWorker => {
                let worker = self.one(&stack.workers)?;
                worker.signal(Signal::SIGSTOP);
                sleep(hold).await;
                worker.signal(Signal::SIGCONT);
            }
            Fault::PauseAt(point) => return self.pause_at(point, hold).await,
            Fault::RollingRestart => self.rolling_restart().await,
            Fault::WorkersGone => {
                stack.workers.iter().for_each(Program::hold_down);
                sleep(hold).await;
                stack.workers.iter().for_each(Program::raise);
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
            Fault::ReadOnly => {
                stack
                    .execute(&format!(
                        "ALTER DATABASE errand SET default_transaction_read_only = on; {END_SESSIONS}"
                    ))
                    .await?;
                sleep(hold).await;
                stack
                    .execute(&format!(
                        "ALTER DATABASE errand RESET default_transaction_read_only; {END_SESSIONS}"
                    ))
                    .await?;
            }
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
            Fault::ModelDown => self.model(Behaviour::Disconnect, hold).await,
            Fault::ModelSlow => {
                self.model(Behaviour::Demo.after(Duration::from_secs(3)), hold)
                    .await;
            }
            Fault::ModelBusy => self.model(Behaviour::rate_limited(1), hold).await,
            Fault::ModelError => self.model(Behaviour::status(500), hold).await,
            Fault::ModelMalformed => self.model(Behaviour::raw("{not json"), hold).await,
            Fault::ModelEndless => {
                self.model(
                    Behaviour::Drip {
                        chunk_every: Duration::from_millis(50),
                    },
                    hold,
                )
                .await;
            }
        }
        Ok(Instant::now())
    }

    fn one<'p>(&mut self, programs: &'p [Program]) -> Result<&'p Program> {
        let index = self.dice.random_range(0..programs.len().max(1));
        programs.get(index).ok_or_else(|| "no such program".into())
    }

    /// Kills a worker with runs in hand.
    async fn kill_worker(&mut self) -> Result<Instant> {
        // Model calls are long for once, so that the worker surely holds some.
        self.stack
            .model_does(Behaviour::Demo.after(Duration::from_secs(1)));
        sleep(Duration::from_secs(1)).await;
        let worker = self.one(&self.stack.workers)?;
        let id = worker.worker_id();
        worker.signal(Signal::SIGKILL);
        let killed = Instant::now();
        self.dead = id.map(|id| (id, killed));
        self.stack.model.script(Script::new());
        Ok(killed)
    }

    /// How long after its death the last worker's runs were taken up, if it held any; which must be within 10 s.
    pub(crate) async fn taken_up(&mut self) -> Result<Option<Duration>> {
        let Some((id, killed)) = self.dead.take() else {
            return Ok(None);
        };
        let held = format!("SELECT 1 FROM runs WHERE worker_id = '{id}' AND status = 'running'");
        let mut took = None;
        while !self.stack.rows(&held).await?.is_empty() {
            took = Some(killed.elapsed());
            if killed.elapsed() > probe::RECOVERED_WITHIN {
                self.client
                    .record
                    .broken("a dead worker's runs are taken up within 10 s", id.to_string());
                break;
            }
            sleep(LOOK).await;
        }
        Ok(took)
    }

    /// Arms a point in every process that could come there, and waits until one has died of it.
    async fn kill_at(&mut self, point: Failpoint) -> Result<Instant> {
        let programs = if point.is_in_api() {
            &self.stack.apis
        } else {
            &self.stack.workers
        };
        let armed = self.reach(point, false, programs).await?;
        let end = Instant::now();
        if armed.is_none() {
            self.client
                .record
                .broken("every kill point is reached", point.name());
        }
        Ok(end)
    }

    /// The first of the programs that comes to the point.
    async fn reach<'p>(
        &mut self,
        point: Failpoint,
        stop: bool,
        programs: &'p [Program],
    ) -> Result<Option<&'p Program>> {
        for program in programs {
            program.arm(point, stop)?;
        }
        let mut driven = 0;
        let began = Instant::now();
        let obeyed = loop {
            if let Some(program) = programs.iter().find(|program| program.has_obeyed()) {
                break Some(program);
            }
            if began.elapsed() > REACHED_WITHIN {
                break None;
            }
            // The load comes to most points by itself.
            if driven < 4 && began.elapsed() > Duration::from_secs(4 * driven) {
                self.drive_to(point, programs).await;
                driven += 1;
            }
            sleep(LOOK).await;
        };
        for program in programs {
            program.disarm();
        }
        Ok(obeyed)
    }

    /// Makes happen what leads to points off the beaten track.
    async fn drive_to(&mut self, point: Failpoint, programs: &[Program]) {
        match point {
            Failpoint::RetryCommitted => {
                // Cancelled before it can be answered, then wanted after all.
                self.stack
                    .model_does(Behaviour::Demo.after(Duration::from_secs(2)));
                let mut sent = load::message(self.user, false, None, 0);
                if self.client.deliver(self.user, &mut sent, 0, Manner::Async).await {
                    self.client.cancel(self.user, &mut sent, 1).await;
                    self.client.follow(self.user, &mut sent, 0).await;
                    self.stack.model.script(Script::new());
                    self.client.retry(self.user, &mut sent, 1).await;
                    self.client.follow(self.user, &mut sent, 0).await;
                    self.client.record.sent(sent);
                }
                self.stack.model.script(Script::new());
            }
            Failpoint::McpCallStarted | Failpoint::McpCallAnswered => {
                let mut sent = load::message(self.user, false, None, 0);
                let pay = Behaviour::tool_call("shop__pay", r#"{"amount":1}"#);
                let script = Script::new().when(&sent.text, [pay, Behaviour::reply("Paid.")]);
                self.stack.model.script(script);
                if self.client.deliver(self.user, &mut sent, 0, Manner::Async).await {
                    self.client.follow(self.user, &mut sent, 1).await;
                    self.client.record.sent(sent);
                }
                self.stack.model.script(Script::new());
            }
            // Somebody must die with runs in hand.
            Failpoint::Requeued => {
                if let Ok(worker) = self.one(programs) {
                    worker.signal(Signal::SIGKILL);
                }
            }
            _ => {}
        }
    }

    /// Stops a worker at the point until it counts as dead and its run is another's, then lets it go on. That it wrote
    /// nothing is seen when all is compared.
    async fn pause_at(&mut self, point: Failpoint, hold: Duration) -> Result<Instant> {
        match self.reach(point, true, &self.stack.workers).await? {
            Some(worker) => {
                // The next attempt is to be under way, and not at its end, when the first one wakes.
                self.stack
                    .model_does(Behaviour::Demo.after(Duration::from_secs(3)));
                self.taken_over(worker, hold * 2).await?;
                worker.signal(Signal::SIGCONT);
                self.stack.model.script(Script::new());
            }
            None => self
                .client
                .record
                .broken("every kill point is reached", point.name()),
        }
        // Another may have obeyed between the look and the disarming.
        self.stack
            .workers
            .iter()
            .for_each(|worker| worker.signal(Signal::SIGCONT));
        Ok(Instant::now())
    }

    /// Waits until a run that the worker held is driven by another.
    async fn taken_over(&self, worker: &Program, patience: Duration) -> Result<()> {
        let Some(id) = worker.worker_id() else {
            return Ok(());
        };
        let held = self
            .stack
            .rows(&format!(
                "SELECT id FROM runs WHERE worker_id = '{id}' AND status = 'running'"
            ))
            .await?;
        let held: Vec<_> = held
            .iter()
            .filter_map(|row| row.try_get::<Uuid, _>(0).ok())
            .map(|id| format!("'{id}'"))
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        let taken = format!(
            "SELECT 1 FROM runs WHERE id IN ({}) AND status = 'running' AND worker_id <> '{id}'",
            held.join(", ")
        );
        let began = Instant::now();
        while began.elapsed() < patience && self.stack.rows(&taken).await?.is_empty() {
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// SIGTERM to one program after the other, each ready again before the next one's turn.
    async fn rolling_restart(&self) {
        for program in self.stack.programs() {
            let starts = program.starts();
            program.signal(Signal::SIGTERM);
            let restarted = timeout(Duration::from_secs(40), async {
                while program.starts() == starts {
                    sleep(LOOK).await;
                }
            });
            if restarted.await.is_err() {
                self.client
                    .record
                    .broken("a program ends at SIGTERM", program.name());
            }
            if let Some(api) = self
                .stack
                .apis
                .iter()
                .position(|api| api.name() == program.name())
            {
                let ready = timeout(Duration::from_secs(10), async {
                    while !self.client.is_ready(api).await {
                        sleep(LOOK).await;
                    }
                });
                if ready.await.is_err() {
                    self.client
                        .record
                        .broken("an API is ready within 10 s", program.name());
                }
            }
        }
    }

    async fn network(&self, mode: Mode, hold: Duration) {
        self.stack.to_postgres.set(mode);
        self.stack.to_redis.set(mode);
        sleep(hold).await;
        self.stack.to_postgres.set(Mode::Pass);
        self.stack.to_redis.set(Mode::Pass);
    }

    async fn model(&self, behaviour: Behaviour, hold: Duration) {
        self.stack.model_does(behaviour);
        sleep(hold).await;
        self.stack.model.script(Script::new());
    }
}
