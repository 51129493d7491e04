//! The API process: builds the state from the settings, serves both listeners, and shuts down in order.
//!
//! This is the composition root. It only connects the parts; it knows nothing of what they do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use errand_shared::{
    domain::{
        agents::{Agents, Secrets},
        clock::Clock,
    },
    service::{config::Exit, lifecycle::Lifecycle, metrics::Gauge},
    signals::{notifier::Notifier, redis_client::RedisClient},
    storage::{self, Durability, Pool, schema},
};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::{
    auth::{Authenticator, SessionState},
    chat::{self, ChatState, queue_position::QueueEstimator, waiter::Waiter},
    http::{
        database::{Cached, Database},
        listener::{self, ListenerLimits},
        rate_limits::RateLimits,
        router,
    },
    live::{self, ConnectionLimit, LiveState, Subscribers},
    metrics::ApiMetrics,
    settings::ApiSettings,
    state::{self, AppState},
};

/// The maximum number of connections to the admin listener.
const ADMIN_CONNECTIONS: usize = 64;
/// How long the last Redis messages may take.
const NOTIFIER_GRACE: Duration = Duration::from_secs(2);

/// An API whose listeners are open.
#[derive(Debug)]
pub struct Api {
    app: AppState,
    main: TcpListener,
    admin: TcpListener,
    lifecycle: Lifecycle,
    /// Stops what must outlive the last request: the notifier and the writers of messages.
    after_requests: Lifecycle,
}

impl Api {
    /// Builds an API and opens its listeners. Postgres and Redis may still be unavailable. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// If a setting is invalid or an address is unavailable.
    pub fn start(settings: ApiSettings, lifecycle: Lifecycle) -> Result<Self, Exit> {
        check(&settings)?;
        let pool = storage::pool(&settings.store, Durability::Flushed)
            .map_err(|error| Exit::bad_setting("DATABASE_URL", error))?;
        let redis =
            RedisClient::new(&settings.redis).map_err(|error| Exit::bad_setting("REDIS_URL", error))?;
        let auth = Authenticator::new(&settings.auth, pool.clone())?
            .with_database_timeout(settings.http.database_request_timeout_ms);
        let agents = load_agents(&settings)?;
        let main = bind("LISTEN_ADDR", settings.http.listen_addr)?;
        let admin = bind("ADMIN_LISTEN_ADDR", settings.http.admin_listen_addr)?;
        let after_requests = Lifecycle::new();
        let app = build(settings, &pool, redis, auth, agents, &lifecycle, &after_requests);
        Ok(Self {
            app,
            main,
            admin,
            lifecycle,
            after_requests,
        })
    }

    /// The address of the main listener.
    ///
    /// # Errors
    /// If the operating system does not return it.
    pub fn addr(&self) -> std::io::Result<SocketAddr> {
        self.main.local_addr()
    }

    /// The address of the admin listener.
    ///
    /// # Errors
    /// If the operating system does not return it.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until a shutdown begins, then finishes the open requests. Requests that wait for a run get a 202.
    pub async fn run(self) {
        let Self {
            app,
            main,
            admin,
            lifecycle,
            after_requests,
        } = self;
        lifecycle.spawn_until_stopped(migrate(app.clone()));
        lifecycle.spawn(Arc::clone(&app.rates).free_idle_buckets(lifecycle.clone()));
        let http = &app.settings.http;
        let limits = ListenerLimits {
            connections: http.max_connections as usize,
            header_timeout: http.http_header_timeout_ms,
            unread_timeout: http.http_unread_timeout_ms,
            grace: http.shutdown_grace_seconds,
        };
        // With port 0, the operating system has chosen the port.
        let address = main.local_addr().unwrap_or(http.listen_addr);
        tracing::info!(%address, "API listening");
        let admin_limits = ListenerLimits {
            connections: ADMIN_CONNECTIONS,
            ..limits
        };
        tokio::join!(
            listener::serve(
                main,
                router::router(&app),
                limits,
                app.metrics.connections.clone(),
                lifecycle.clone()
            ),
            listener::serve(
                admin,
                router::admin_router(&app),
                admin_limits,
                Gauge::default(),
                lifecycle.clone()
            ),
        );
        app.sockets.close();
        if tokio::time::timeout(limits.grace, app.sockets.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                open = app.sockets.len(),
                "grace period is over; closing open WebSockets"
            );
        }
        app.chat.notifier.close();
        after_requests.stop();
        if !after_requests.drained(NOTIFIER_GRACE).await {
            tracing::warn!("some notifications were not sent; the rescuer will send them");
        }
        tracing::info!("API stopped");
    }
}

fn build(
    settings: ApiSettings,
    pool: &Pool,
    redis: RedisClient,
    auth: Authenticator,
    agents: Agents,
    lifecycle: &Lifecycle,
    after_requests: &Lifecycle,
) -> AppState {
    let database = Database::new(pool.clone(), settings.http.database_request_timeout_ms);
    let subscribers = Subscribers::new(settings.live.live_buffer_events as usize);
    let waiter = Waiter::new(subscribers.clone());
    let sweep = settings.chat.wait_sweep_ms;
    waiter.start_polling(pool.clone(), sweep, Clock::system(), lifecycle);
    lifecycle.spawn_until_stopped(live::listen(waiter.clone(), subscribers.clone(), redis.clone()));
    let notifier = Notifier::start(redis.clone(), after_requests);
    let sockets = TaskTracker::new();
    let mut metrics = ApiMetrics::new(&settings.http);
    metrics.observe(pool, &notifier, &waiter, &sockets);
    let rates = Arc::new(RateLimits::new(&settings, metrics.limited.clone()));
    let auth = Arc::new(auth);
    let posts = chat::store_in_groups(
        pool,
        settings.store.database_batch_max as usize,
        settings.chat.max_open_runs_per_user,
        after_requests,
    );
    let chat = ChatState::new(chat::Parts {
        settings: settings.chat.clone(),
        database: database.clone(),
        posts,
        notifier,
        waiter,
        agents,
        rates: Arc::clone(&rates),
        queue_depth: Cached::new(chat::QUEUE_DEPTH_LIFETIME..=chat::QUEUE_DEPTH_LIFETIME),
        queue_estimator: QueueEstimator::new(),
        posts_total: metrics.posts.clone(),
        post_duration: metrics.post_duration.clone(),
        lifecycle: lifecycle.clone(),
        clock: Clock::system(),
    });
    let live = LiveState::new(live::Parts {
        settings: settings.live.clone(),
        chat: chat.clone(),
        redis,
        subscribers,
        connections: ConnectionLimit::default(),
        streams: metrics.streams.clone(),
    });
    AppState::new(state::Parts {
        sessions: SessionState::new(
            &settings.auth,
            Arc::clone(&auth),
            database.clone(),
            Arc::clone(&rates),
        ),
        trusted_proxies: settings.http.trusted_proxies.clone().into(),
        settings,
        database,
        chat,
        live,
        auth,
        rates,
        metrics,
        sockets,
    })
}

fn check(settings: &ApiSettings) -> Result<(), Exit> {
    let chat = &settings.chat;
    if chat.chat_wait_default > chat.chat_wait_max {
        return Err(Exit::bad_setting(
            "CHAT_WAIT_DEFAULT",
            "must not be greater than CHAT_WAIT_MAX",
        ));
    }
    Ok(())
}

fn load_agents(settings: &ApiSettings) -> Result<Agents, Exit> {
    let tools: Vec<_> = errand_task_tools::specs().iter().map(|spec| spec.name).collect();
    Agents::load(&settings.agents, &tools, Secrets::Leave)
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Exit> {
    listener::listen(address).map_err(|error| Exit::bad_setting(setting, format!("{address}: {error}")))
}

/// Migrates the schema as soon as Postgres is available. Until then the API is not ready.
async fn migrate(app: AppState) {
    if let Err(error) = schema::migrate_when_reachable(&app.settings.store).await {
        tracing::error!(%error, "cannot migrate the schema");
    }
}
