//! The API's life: starts its parts, serves, stops in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use errand_shared::{
    domain::{
        agents::{Agents, Secrets},
        clock::Clock,
    },
    service::{config::Exit, lifecycle::Lifecycle, metrics::Gauge},
    signals::{notifier::Notifier, redis_client::RedisClient},
    storage::{
        self, Durability, Pool,
        group_commit::GroupCommit,
        queue::posts::{self, Post, PostOutcome},
        schema,
    },
};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::{
    auth::Authenticator,
    chat::{queue_depth::QueueDepth, queue_position::QueueEstimator, waiter::Waiter},
    http::{
        listener::{self, Bounds},
        rate_limits::RateLimits,
        router,
    },
    live::{self, ConnectionLimit, Subscribers},
    metrics::ApiMetrics,
    settings::ApiSettings,
    state::{App, AppState},
};

/// Connections to the admin listener, at most.
const ADMIN_CONNECTIONS: usize = 64;
/// How long the last notices may take.
const LAST_NOTICES: Duration = Duration::from_secs(2);

/// An API whose parts are made and whose listeners are open.
#[derive(Debug)]
pub struct Api {
    app: App,
    main: TcpListener,
    admin: TcpListener,
    lifecycle: Lifecycle,
    /// Ends what must outlive the last request: the notifier.
    ended: Lifecycle,
}

impl Api {
    /// Makes an API. Neither Postgres nor Redis need be there yet.
    ///
    /// # Errors
    /// A bad setting, or an address that can't be listened on. Must be called within a tokio runtime.
    pub fn start(settings: ApiSettings, lifecycle: Lifecycle) -> Result<Self, Exit> {
        check(&settings)?;
        let tools: Vec<_> = errand_task_tools::specs().iter().map(|spec| spec.name).collect();
        let agents = Agents::load(&settings.agents, &tools, Secrets::Leave)?;
        let pool = storage::pool(&settings.store, Durability::Flushed)
            .map_err(|error| Exit::bad_setting("DATABASE_URL", error))?;
        let redis =
            RedisClient::new(&settings.redis).map_err(|error| Exit::bad_setting("REDIS_URL", error))?;
        let auth = Authenticator::new(&settings.auth, pool.clone())?
            .with_database_timeout(settings.http.database_request_timeout_ms);
        let http = &settings.http;
        let main = open("LISTEN_ADDR", http.listen_addr)?;
        let admin = open("ADMIN_LISTEN_ADDR", http.admin_listen_addr)?;
        let ended = Lifecycle::new();
        let readers = Subscribers::new(settings.live.live_buffer_events as usize);
        let waiter = Waiter::new(readers.clone());
        waiter.start(
            pool.clone(),
            settings.chat.wait_sweep_ms,
            Clock::system(),
            &lifecycle,
        );
        lifecycle.spawn_until_stopped(live::listen(waiter.clone(), readers.clone(), redis.clone()));
        let notifier = Notifier::start(redis.clone(), &ended);
        let sockets = TaskTracker::new();
        let mut metrics = ApiMetrics::new(&settings.http);
        metrics.watch(&pool, &notifier, &waiter, &sockets);
        let app = Arc::new(AppState {
            posts: group_posts(&settings, &pool, &ended),
            agents,
            notifier,
            rates: RateLimits::new(&settings, metrics.limited.clone()),
            metrics,
            outlook: QueueEstimator::default(),
            queue_depth: QueueDepth::default(),
            lifecycle: lifecycle.clone(),
            clock: Clock::system(),
            settings,
            pool,
            redis,
            readers,
            seats: ConnectionLimit::default(),
            sockets,
            waiter,
            auth,
        });
        Ok(Self {
            app,
            main,
            admin,
            lifecycle,
            ended,
        })
    }

    /// Where the API is served.
    ///
    /// # Errors
    /// If the system can't tell.
    pub fn addr(&self) -> std::io::Result<SocketAddr> {
        self.main.local_addr()
    }

    /// Where metrics and health are served for operators.
    ///
    /// # Errors
    /// If the system can't tell.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until asked to stop; then answers what it holds, turning waits into 202.
    pub async fn run(self) {
        let Self {
            app,
            main,
            admin,
            lifecycle,
            ended,
        } = self;
        lifecycle.spawn_until_stopped(migrate(Arc::clone(&app)));
        lifecycle.spawn(RateLimits::forget_idle(Arc::clone(&app), lifecycle.clone()));
        let http = &app.settings.http;
        let bounds = Bounds {
            connections: http.max_connections as usize,
            header_timeout: http.http_header_timeout_ms,
            unread_timeout: http.http_unread_timeout_ms,
            grace: http.shutdown_grace_seconds,
        };
        // The port too, if the system was to choose one.
        let address = main.local_addr().unwrap_or(http.listen_addr);
        tracing::info!(%address, "the API serves");
        let admin_bounds = Bounds {
            connections: ADMIN_CONNECTIONS,
            ..bounds
        };
        tokio::join!(
            listener::serve(
                main,
                router::router(&app),
                bounds,
                app.metrics.connections.clone(),
                lifecycle.clone()
            ),
            listener::serve(
                admin,
                router::admin_router(&app),
                admin_bounds,
                Gauge::default(),
                lifecycle.clone()
            ),
        );
        app.sockets.close();
        if tokio::time::timeout(bounds.grace, app.sockets.wait())
            .await
            .is_err()
        {
            tracing::warn!(open = app.sockets.len(), "WebSockets did not end in time");
        }
        app.notifier.close();
        ended.stop();
        if !ended.drained(LAST_NOTICES).await {
            tracing::warn!("the last notices did not go out; the rescuer rings instead");
        }
        tracing::info!("the API has stopped");
    }
}

fn group_posts(settings: &ApiSettings, pool: &Pool, ended: &Lifecycle) -> GroupCommit<Post, PostOutcome> {
    let most = settings.store.database_batch_max as usize;
    let max_open = i64::from(settings.chat.max_open_runs_per_user);
    let pool = pool.clone();
    GroupCommit::start(most, ended, move |batch: Arc<[Post]>| {
        let pool = pool.clone();
        async move { posts::store(&pool, &batch, max_open).await }
    })
}

fn open(setting: &str, address: SocketAddr) -> Result<TcpListener, Exit> {
    listener::listen(address).map_err(|error| Exit::bad_setting(setting, format!("{address}: {error}")))
}

fn check(settings: &ApiSettings) -> Result<(), Exit> {
    let chat = &settings.chat;
    if chat.chat_wait_default > chat.chat_wait_max {
        return Err(Exit::bad_setting(
            "CHAT_WAIT_DEFAULT",
            "must not be above CHAT_WAIT_MAX",
        ));
    }
    Ok(())
}

/// Migrates as soon as Postgres can be reached; until then the API is not ready.
async fn migrate(app: App) {
    if let Err(error) = schema::migrate_when_reachable(&app.settings.store).await {
        tracing::error!(%error, "the schema could not be migrated");
    }
}
