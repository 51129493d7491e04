//! The worker's life: starts its parts, runs the queue through apalis, stops in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use apalis::layers::WorkerBuilderExt;
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
    context::{Beats, Context},
    metrics::WorkerMetrics,
    queue::{
        backend::{Claimed, LeaseQueue},
        claimer::Feeder,
        control_listener,
        run_registry::{InFlight, Interrupt},
    },
    run::{driver, finish, step_transaction},
    settings::WorkerSettings,
    upkeep::{
        heartbeat::{Heartbeat, Pulse},
        rescuer, retention,
    },
};

/// How long each of the last steps may take after the grace time: runs that let go, handing back, the last notices.
/// With the default grace of 25 s the worker is gone well within 35 s.
const HAND_BACK: Duration = Duration::from_secs(3);

/// Why a worker could not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting is bad.
    Setting(Exit),
    /// The admin listener could not be opened.
    Listen(SocketAddr, std::io::Error),
}

impl From<Exit> for StartError {
    fn from(exit: Exit) -> Self {
        Self::Setting(exit)
    }
}

/// A worker whose parts are made and whose admin listener is open.
#[derive(Debug)]
pub struct Worker {
    context: Arc<Context>,
    redis: RedisClient,
    heartbeat: Pool,
    admin: TcpListener,
    /// Ends what must outlive the last run: admin listener, notifier.
    ended: Lifecycle,
}

impl Worker {
    /// Makes a worker. Neither Postgres nor Redis need be there yet.
    ///
    /// # Errors
    /// A bad setting, or an address that can't be listened on.
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
        let in_flight = InFlight::default();
        let beats = Beats::default();
        let mut metrics = WorkerMetrics::new(&settings);
        let pools = [
            ("main", pool.clone()),
            ("claims", claims.clone()),
            ("heartbeat", heartbeat.clone()),
        ];
        metrics.watch(&pools, &notifier, &in_flight, Arc::clone(&beats));
        let context = Context {
            steps: step_transaction::group(&settings, &pool, &ended),
            finishes: finish::group(&settings, &pool, &ended),
            worker_id: Uuid::now_v7(),
            agents: ReadyAgents::new(&settings, &redis, &metrics, &ended)?,
            notifier,
            in_flight,
            clock: Clock::system(),
            beats,
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

    /// Where the admin listener is.
    ///
    /// # Errors
    /// If the system can't tell.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// The id under which this worker holds its leases.
    pub fn id(&self) -> Uuid {
        self.context.worker_id
    }

    /// Works until asked to stop; then takes no new run, finishes what it has within the grace time, hands back the
    /// rest.
    pub async fn run(self, lifecycle: Lifecycle) {
        let Self {
            context,
            redis,
            heartbeat,
            admin,
            ended,
        } = self;
        tracing::info!(worker.id = %context.worker_id, "the worker starts");
        ended.spawn(admin::serve(admin, Arc::clone(&context), ended.clone()));
        if wait_for_schema(&context, &lifecycle).await {
            work(&context, redis, heartbeat, &lifecycle).await;
        }
        context.notifier.close();
        ended.stop();
        if !ended.drained(HAND_BACK).await {
            tracing::warn!("some parts of the worker did not end in time");
        }
        tracing::info!("the worker has stopped");
    }
}

/// Migrates, or waits until Postgres can be reached to do so. False if asked to stop before.
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
    // A schema of a newer program may have dropped what this one needs: claim nothing until it fits.
    loop {
        match schema::compatibility(&context.claims).await {
            Ok(Compatibility::Compatible) => return true,
            Ok(misfit) => tracing::error!(
                ?misfit,
                "this program can't live with the schema; it claims nothing"
            ),
            Err(error) => tracing::warn!(%error, "waiting for Postgres"),
        }
        let pause = tokio::time::sleep(Duration::from_secs(2));
        if lifecycle.token().run_until_cancelled(pause).await.is_none() {
            return false;
        }
    }
}

async fn work(context: &Arc<Context>, redis: RedisClient, heartbeat: Pool, lifecycle: &Lifecycle) {
    let (heartbeat, pulse) = Heartbeat::new(Arc::clone(context), heartbeat, host_name());
    let beating = Lifecycle::new();
    beating.spawn(heartbeat.run(beating.clone()));
    // Runs that are under way when the worker stops can still be cancelled and read.
    beating.spawn_until_stopped(control_listener::listen(Arc::clone(context), redis.clone()));
    lifecycle.spawn_until_stopped(rescuer::run(Arc::clone(context), pulse.good_since.clone()));
    lifecycle.spawn_until_stopped(retention::run(Arc::clone(context)));
    run_queue(context, redis, pulse, lifecycle).await;
    // A beat after the worker has left would put it on the list again.
    beating.stop();
    if !beating.drained(HAND_BACK).await {
        tracing::warn!("the heartbeat did not end in time");
    }
    hand_back(context).await;
}

/// Runs the queue through apalis until the feeder has stopped and the last run has ended, or the grace time is over.
async fn run_queue(context: &Arc<Context>, redis: RedisClient, pulse: Pulse, lifecycle: &Lifecycle) {
    let (out, claimed) = mpsc::channel(context.settings.worker_claim_batch as usize);
    let feeder = Feeder::new(Arc::clone(context), redis, out, pulse, lifecycle.token());
    lifecycle.spawn(feeder.run());
    let runs = TaskTracker::new();
    let spawner = runs.clone();
    let driven = Arc::clone(context);
    // A name of its own for each start: apalis tells workers apart by it.
    let worker = WorkerBuilder::new(format!("errand-{}", context.worker_id))
        .backend(LeaseQueue::new(claimed))
        .catch_panic()
        .parallelize(move |run| spawner.spawn(run))
        .build(move |claimed: Claimed| {
            let context = Arc::clone(&driven);
            async move {
                let Claimed {
                    lease,
                    flight,
                    permit,
                } = claimed;
                driver::execute(context, lease, flight).await;
                drop(permit);
            }
        });
    let grace = async {
        lifecycle.stopped().await;
        tokio::time::sleep(context.settings.shutdown_grace_seconds).await;
    };
    tokio::select! {
        // Boxed, because the compiler can't tell otherwise that this future may be sent between threads.
        ended = worker.run().boxed() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the queue ended");
            }
        }
        () = grace => {
            tracing::warn!(in_flight = context.in_flight.len(), "the grace time is over; handing back");
            context.in_flight.interrupt_all(Interrupt::Stopping);
        }
    }
    runs.close();
    if tokio::time::timeout(HAND_BACK, runs.wait()).await.is_err() {
        tracing::warn!(
            in_flight = context.in_flight.len(),
            "some runs did not stop in time"
        );
    }
}

/// Hands back whatever still bears this worker's id, and leaves the list of workers.
async fn hand_back(context: &Context) {
    let handed_back = async {
        for queued in workers::release_all(&context.pool, context.worker_id).await? {
            context.publish_queued(&queued);
            context.notifier.notify_ready(queued.user_id, queued.run_id);
        }
        workers::deregister(&context.pool, context.worker_id).await
    };
    match tokio::time::timeout(HAND_BACK, handed_back).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "what is left could not be handed back; others will take it up");
        }
        Err(_elapsed) => tracing::warn!("Postgres did not take what is left in time; others will take it up"),
    }
}

/// The machine's name, for the list of workers.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
