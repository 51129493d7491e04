//! Composes the worker from its parts, runs the queue with apalis, and shuts down in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use apalis_core::worker::{builder::WorkerBuilder, ext::parallelize::ParallelizeExt};
use errand_shared::{
    Uuid,
    domain::clock::Clock,
    service::{config::Exit, lifecycle::Lifecycle},
    signals::{notifier::Notifier, redis_client::RedisClient},
    storage::{
        self, Durability, Pool,
        queue::workers,
        schema::{self, Compatibility},
    },
};
use futures::FutureExt;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::task::TaskTracker;

use crate::{
    admin,
    agents::ReadyAgents,
    context::Context,
    metrics::WorkerMetrics,
    queue::{
        backend::{ClaimedRun, LeaseQueue},
        claimer::Claimer,
        control_listener,
        run_registry::{Interrupt, RunRegistry},
    },
    run::{driver, finish, step_transaction},
    settings::WorkerSettings,
    upkeep::{
        heartbeat::Heartbeat,
        liveness::{LastHeartbeat, Liveness},
        rescuer, retention,
    },
};

/// The time limit for each step of the hard shutdown, after the grace period: interrupting runs, releasing leases, publishing the last
/// events. With the default grace period of 25 s the worker exits within 35 s.
const HARD_STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a worker could not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting is invalid.
    Setting(Exit),
    /// The admin listener could not be opened.
    Listen(SocketAddr, std::io::Error),
}

impl From<Exit> for StartError {
    fn from(exit: Exit) -> Self {
        Self::Setting(exit)
    }
}

/// A worker that is ready to run: its admin listener is open.
#[derive(Debug)]
pub struct Worker {
    context: Arc<Context>,
    redis: RedisClient,
    heartbeat: Pool,
    admin: TcpListener,
    /// Stops what must outlive the last run: the admin listener and the notifier.
    ended: Lifecycle,
}

impl Worker {
    /// Prepares a worker. Neither the database nor Redis need to be reachable yet.
    ///
    /// # Errors
    /// An invalid setting, or an admin address that can't be bound.
    pub async fn start(settings: WorkerSettings) -> Result<Self, StartError> {
        settings.check()?;
        let bad_database = |error: sqlx::Error| Exit::bad_setting("DATABASE_URL", error);
        let redis =
            RedisClient::new(&settings.redis).map_err(|error| Exit::bad_setting("REDIS_URL", error))?;
        let pool = storage::pool(&settings.store, Durability::Flushed).map_err(bad_database)?;
        let claims = storage::pool_of(&settings.store, Durability::Relaxed, 2).map_err(bad_database)?;
        let heartbeat = storage::pool_of(&settings.store, Durability::Relaxed, 1).map_err(bad_database)?;
        let admin = TcpListener::bind(settings.admin_listen_addr)
            .await
            .map_err(|error| StartError::Listen(settings.admin_listen_addr, error))?;
        let ended = Lifecycle::new();
        let notifier = Notifier::start(redis.clone(), &ended);
        let active_runs = RunRegistry::default();
        let last_heartbeat = LastHeartbeat::default();
        let mut metrics = WorkerMetrics::new(&settings);
        let pools = [
            ("main", pool.clone()),
            ("claims", claims.clone()),
            ("heartbeat", heartbeat.clone()),
        ];
        metrics.observe_parts(&pools, &notifier, &active_runs, last_heartbeat.clone());
        let context = Context {
            steps: step_transaction::group_commit(&settings, &pool, &ended),
            finishes: finish::group_commit(&settings, &pool, &ended),
            worker_id: Uuid::now_v7(),
            agents: ReadyAgents::new(&settings, &redis, &metrics, &ended)?,
            notifier,
            active_runs,
            clock: Clock::system(),
            last_heartbeat,
            metrics,
            pool,
            claims,
            settings,
        };
        Ok(Self {
            context: Arc::new(context),
            redis,
            heartbeat,
            admin,
            ended,
        })
    }

    /// The address of the admin listener.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// The id of this worker, which its leases contain.
    pub fn id(&self) -> Uuid {
        self.context.worker_id
    }

    /// Executes runs until `lifecycle` stops. Then claims nothing, lets active runs finish within the grace period, and releases the rest.
    pub async fn run(self, lifecycle: Lifecycle) {
        let Self {
            context,
            redis,
            heartbeat,
            admin,
            ended,
        } = self;
        tracing::info!(worker.id = %context.worker_id, "worker starting");
        ended.spawn(admin::serve(admin, Arc::clone(&context), ended.clone()));
        if wait_for_schema(&context, &lifecycle).await {
            work(&context, redis, heartbeat, &lifecycle).await;
        }
        context.notifier.close();
        ended.stop();
        if !ended.drained(HARD_STOP_TIMEOUT).await {
            tracing::warn!("some parts of the worker did not stop in time");
        }
        tracing::info!("worker stopped");
    }
}

/// Applies the migrations, as soon as the database is reachable, and waits until the schema is compatible. Returns false if the worker stops
/// before.
async fn wait_for_schema(context: &Context, lifecycle: &Lifecycle) -> bool {
    let migrated = schema::migrate_when_reachable(&context.settings.store);
    match lifecycle.token().run_until_cancelled(migrated).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::error!(%error, "the schema could not be migrated");
            return false;
        }
        None => return false,
    }
    // A newer schema may lack something that this version needs. Claim nothing until the schema is compatible.
    loop {
        match schema::compatibility(&context.claims).await {
            Ok(Compatibility::Compatible) => return true,
            Ok(compatibility) => {
                tracing::error!(?compatibility, "incompatible schema; no run is claimed");
            }
            Err(error) => tracing::warn!(%error, "waiting for the database"),
        }
        let pause = tokio::time::sleep(Duration::from_secs(2));
        if lifecycle.token().run_until_cancelled(pause).await.is_none() {
            return false;
        }
    }
}

async fn work(context: &Arc<Context>, redis: RedisClient, heartbeat: Pool, lifecycle: &Lifecycle) {
    let (heartbeat, liveness) = Heartbeat::new(Arc::clone(context), heartbeat, host_name());
    let until_idle = Lifecycle::new();
    until_idle.spawn(heartbeat.run(until_idle.clone()));
    // Runs that are active during the shutdown can still be cancelled and subscribed to.
    until_idle.spawn_until_stopped(control_listener::listen(Arc::clone(context), redis.clone()));
    lifecycle.spawn_until_stopped(rescuer::run(Arc::clone(context), liveness.alive_since.clone()));
    lifecycle.spawn_until_stopped(retention::run(Arc::clone(context)));
    run_queue(context, redis, liveness, lifecycle).await;
    // A heartbeat after the worker has left would add it to the list of workers again.
    until_idle.stop();
    if !until_idle.drained(HARD_STOP_TIMEOUT).await {
        tracing::warn!("the heartbeat did not stop in time");
    }
    release_all(context).await;
}

/// Runs the queue with apalis until the claimer has stopped and the last run has ended, or the grace period is over.
async fn run_queue(context: &Arc<Context>, redis: RedisClient, liveness: Liveness, lifecycle: &Lifecycle) {
    let (out, leases) = mpsc::channel(context.settings.worker_claim_batch as usize);
    let claimer = Claimer::new(Arc::clone(context), redis, out, liveness, lifecycle.token());
    lifecycle.spawn(claimer.run());
    let runs = TaskTracker::new();
    let spawner = runs.clone();
    let shared = Arc::clone(context);
    // apalis requires a unique name.
    let worker = WorkerBuilder::new(format!("errand-{}", context.worker_id))
        .backend(LeaseQueue::new(leases))
        .parallelize(move |run| spawner.spawn(run))
        .build(move |claimed: ClaimedRun| {
            let context = Arc::clone(&shared);
            async move {
                let ClaimedRun {
                    lease,
                    active_run,
                    permit,
                } = claimed;
                driver::execute(context, lease, active_run).await;
                drop(permit);
            }
        });
    let grace = async {
        lifecycle.stopped().await;
        tokio::time::sleep(context.settings.shutdown_grace_seconds).await;
    };
    tokio::select! {
        // Boxed, because the compiler does not prove that the unboxed future is `Send`.
        ended = worker.run().boxed() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the queue failed");
            }
        }
        () = grace => {
            tracing::warn!(runs = context.active_runs.len(), "the grace period is over; interrupting active runs");
            context.active_runs.interrupt_all(Interrupt::Stopping);
        }
    }
    runs.close();
    if tokio::time::timeout(HARD_STOP_TIMEOUT, runs.wait())
        .await
        .is_err()
    {
        tracing::warn!(runs = context.active_runs.len(), "some runs did not stop in time");
    }
}

/// Releases all leases of this worker and removes it from the list of workers.
async fn release_all(context: &Context) {
    let released = async {
        for queued in workers::release_all(&context.pool, context.worker_id).await? {
            context.publish_queued(&queued);
            context.notifier.notify_ready(queued.user_id, queued.run_id);
        }
        workers::deregister(&context.pool, context.worker_id).await
    };
    match tokio::time::timeout(HARD_STOP_TIMEOUT, released).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the remaining leases could not be released; other workers will rescue their runs");
        }
        Err(_elapsed) => {
            tracing::warn!("releasing the remaining leases timed out; other workers will rescue their runs");
        }
    }
}

/// The name of this host, for the list of workers.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
