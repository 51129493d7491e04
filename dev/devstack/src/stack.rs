//! Everything that runs: Postgres and Redis at the bottom, then a model server, then Errand's programs.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::restarts::Restarts;
use crate::process::supervisor::{RestartPolicy, Supervised, Supervisor};
use crate::programs::Program;
use crate::services::{Service, Services};

/// How long a program may take to stop. More than the programs' own grace period of 25 s.
const STOP_GRACE: Duration = Duration::from_secs(35);

/// A running stack. Stops when dropped, but [`Stack::stop`] stops it in order.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order.
    programs: Supervisor,
    model: Supervisor,
    services: Option<Services>,
    service_restarts: ServiceRestarts,
    report: fn(&str),
}

impl Stack {
    /// A stack on private services, or on services that are managed elsewhere. `report` receives a message about each
    /// restart.
    pub fn new(services: Option<Services>, policy: RestartPolicy, report: fn(&str)) -> Self {
        Self {
            programs: Supervisor::new(policy, STOP_GRACE, report),
            model: Supervisor::new(policy, STOP_GRACE, report),
            services,
            service_restarts: ServiceRestarts::default(),
            report,
        }
    }

    /// Starts the model server and waits until it is ready.
    pub async fn start_model(&mut self, program: Program) -> Result<Supervised> {
        self.model.start(program).await
    }

    /// Starts an API or worker and waits until it is ready.
    pub async fn start_program(&mut self, program: Program) -> Result<Supervised> {
        self.programs.start(program).await
    }

    /// Starts an API or worker without waiting.
    pub fn launch_program(&mut self, program: Program) -> Result<Supervised> {
        self.programs.launch(program)
    }

    /// The private services.
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref()
    }

    /// Keeps everything running. Returns when a part could not be kept running. Cancel-safe.
    pub async fn watch(&mut self) -> Error {
        loop {
            let result = tokio::select! {
                error = self.programs.failed() => Err(error),
                error = self.model.failed() => Err(error),
                result = self.service_restarts.next(self.services.as_mut(), self.report) => result,
            };
            if let Err(error) = result {
                return error;
            }
        }
    }

    /// Stops the programs, then the model, then the services: no part loses what it depends on.
    pub async fn stop(&mut self) -> Result<()> {
        let programs = self.stop_programs().await;
        let services = match &mut self.services {
            Some(services) => services.stop().await,
            None => Ok(()),
        };
        programs.and(services)
    }

    /// Stops the programs and the model.
    pub async fn stop_programs(&mut self) -> Result<()> {
        let programs = self.programs.stop().await;
        programs.and(self.model.stop().await)
    }
}

/// Starts Postgres and Redis again after they have exited.
#[derive(Debug, Default)]
struct ServiceRestarts {
    postgres: Restarts,
    redis: Restarts,
    /// A service that has exited and is still to be started. Kept here so that a cancelled call is resumed by the next.
    due: Option<Service>,
}

impl ServiceRestarts {
    /// Waits until a service exits and starts it again. Cancel-safe.
    async fn next(&mut self, services: Option<&mut Services>, report: fn(&str)) -> Result<()> {
        let Some(services) = services else {
            return std::future::pending().await;
        };
        if self.due.is_none() {
            let (service, error) = services.exited().await?;
            let restarts = match service {
                Service::Postgres => &mut self.postgres,
                Service::Redis => &mut self.redis,
            };
            let Some(delay) = restarts.delay_after_exit(Instant::now()) else {
                return Err(error);
            };
            self.due = Some(service);
            report(&format!(
                "{error}\nStarting it again in {:.1} s.",
                delay.as_secs_f64()
            ));
            tokio::time::sleep(delay).await;
        }
        if let Some(service) = self.due {
            services.start_again(service).await?;
            self.due = None;
        }
        Ok(())
    }
}
