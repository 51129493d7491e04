//! Everything that runs: started from the bottom, watched, stopped from the top.

use std::time::{Duration, Instant};

use super::Programs;
use super::keeper::Keeper;
use super::programs::{Common, Program};
use super::restarts::Restarts;
use crate::backing::{Backing, Service, Urls};
use crate::cli::UpArgs;
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::packages::Found;
use crate::pid_file;
use crate::ports::{self, Ports};
use crate::say::{say, tell};

/// The running whole.
#[derive(Debug)]
pub(super) struct Stack {
    // Dropped in this order when a start is broken off.
    programs: Keeper,
    model: Keeper,
    backing: Option<Backing>,
    revival: Revival,
    api_port: u16,
}

impl Stack {
    /// Starts it, bottom up; each part is ready before the next begins.
    pub(super) async fn start(
        args: &UpArgs,
        folder: &Folder,
        found: Option<&Found>,
        outside: Option<Urls>,
        programs: &Programs,
    ) -> Result<Self> {
        pid_file::end_left_over(&folder.run()).await?;
        let mut ports = Ports::open(&folder.root().join("ports"))?;
        let mut stack = Self {
            programs: Keeper::default(),
            model: Keeper::default(),
            backing: None,
            revival: Revival::default(),
            api_port: api_port(args, &mut ports)?,
        };
        let urls = match (outside, found) {
            (Some(urls), _) => urls,
            (None, Some(found)) => {
                say("Starting Postgres and Redis.");
                let backing = Backing::durable(found, folder, &mut ports).await?;
                let urls = backing.urls();
                stack.backing = Some(backing);
                urls
            }
            (None, None) => return Err(Error::Unusable("no Postgres and no Redis were found".to_owned())),
        };
        let common = Common {
            folder,
            urls,
            jwt_secret: folder.secret("jwt-secret")?,
            ready_within: Duration::from_secs(args.ready_timeout),
        };
        say("Bringing the database's schema up to date.");
        common.migrate(&programs.api).await?;
        stack.start_programs(args, &common, &mut ports, programs).await?;
        Ok(stack)
    }

    async fn start_programs(
        &mut self,
        args: &UpArgs,
        common: &Common<'_>,
        ports: &mut Ports,
        programs: &Programs,
    ) -> Result<()> {
        let mut demo_model = None;
        if let Some(program) = &programs.model {
            say("Starting the demo model.");
            let port = ports.pick("model", Some(8088))?;
            let model = Program::model(common, program.clone(), port);
            let process = model.start().await?;
            self.model.keep(model, process);
            demo_model = Some(port);
        }
        say(&format!(
            "Starting the API and {} worker{}.",
            args.workers,
            if args.workers == 1 { "" } else { "s" }
        ));
        let admin_port = ports.pick("api-admin", Some(9090))?;
        let api = Program::api(common, programs.api.clone(), self.api_port, admin_port);
        let process = api.start().await?;
        self.programs.keep(api, process);
        for number in 1..=args.workers {
            let port = ports.pick(&format!("worker-{number}"), Some(9090 + number))?;
            let worker = Program::worker(common, programs.worker.clone(), number, port, demo_model);
            let process = worker.start().await?;
            self.programs.keep(worker, process);
        }
        Ok(())
    }

    /// The API's port on 127.0.0.1.
    pub(super) fn api_port(&self) -> u16 {
        self.api_port
    }

    /// Keeps everything running; ends only with the fault of a part that could
    /// not be kept. May be dropped and called again.
    pub(super) async fn watch(&mut self) -> Error {
        loop {
            let step = tokio::select! {
                ended = self.programs.gave_up() => ended,
                ended = self.model.gave_up() => ended,
                ended = self.revival.next(self.backing.as_mut()) => ended,
            };
            if let Err(fault) = step {
                return fault;
            }
        }
    }

    /// Stops everything, top down: nobody loses what it stands on.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let programs = self.programs.stop().await;
        let model = self.model.stop().await;
        let backing = match &mut self.backing {
            Some(backing) => backing.stop().await,
            None => Ok(()),
        };
        programs.and(model).and(backing)
    }
}

/// The deaths of Postgres and Redis, and what is still to be done about them.
#[derive(Debug, Default)]
struct Revival {
    postgres: Restarts,
    redis: Restarts,
    /// Dead, and to be started again; kept here so that a start that was broken
    /// off is taken up by the next call.
    due: Option<Service>,
}

impl Revival {
    /// Waits for a death and starts the dead one again. May be dropped and called again.
    async fn next(&mut self, backing: Option<&mut Backing>) -> Result<()> {
        let Some(backing) = backing else {
            return std::future::pending().await;
        };
        if self.due.is_none() {
            let death = backing.next_death().await?;
            let restarts = match death.service {
                Service::Postgres => &mut self.postgres,
                Service::Redis => &mut self.redis,
            };
            let Some(pause) = restarts.after_death(Instant::now()) else {
                return Err(death.fault);
            };
            self.due = Some(death.service);
            tell(&format!(
                "{}\nStarting it again in {:.1} s.",
                death.fault,
                pause.as_secs_f64()
            ));
            tokio::time::sleep(pause).await;
        }
        if let Some(service) = self.due {
            backing.revive(service).await?;
            self.due = None;
        }
        Ok(())
    }
}

fn api_port(args: &UpArgs, ports: &mut Ports) -> Result<u16> {
    match args.port {
        Some(port) if !ports::is_free(port) => Err(Error::InUse(format!(
            "port {port} on 127.0.0.1 is taken; choose another --port"
        ))),
        Some(port) => Ok(port),
        None => ports.pick("api", Some(8080)),
    }
}
