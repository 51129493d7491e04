//! The server's life: bind, serve, stop. What it answers is in the modules below.

mod answer;
mod connection;
mod control;
mod pause;
mod perform;
mod routes;
mod sse;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use tokio::net::TcpSocket;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Behaviour, Counts, Latency, Recorded, Script, record::Recorder};
use connection::{Connection, Connections};

/// Connections that may wait to be accepted: a load test opens thousands at once.
const BACKLOG: u32 = 16_384;

/// How the server is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The name under which the model answers.
    pub model: String,
    /// How long each call takes.
    pub latency: Latency,
    /// How long each piece of an answer takes, streamed or not.
    pub token_delay: Duration,
    /// Makes ids, latencies and mixes repeatable; drawn at the start when there is none.
    pub seed: Option<u64>,
    /// What answers the requests.
    pub script: Script,
    /// How many requests to keep for [`Server::requests`].
    pub record: usize,
    /// Whether `/__control/…` is served.
    pub control: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            model: "errand-demo".to_owned(),
            latency: Latency::None,
            token_delay: Duration::ZERO,
            seed: None,
            script: Script::new(),
            record: 10_000,
            control: false,
        }
    }
}

/// What the handlers share.
pub(crate) struct State {
    model: String,
    latency: Latency,
    token_delay: Duration,
    seed: u64,
    started: u64,
    script: Mutex<Script>,
    recorder: Arc<Recorder>,
    stopping: CancellationToken,
}

impl State {
    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    /// Tells the server to take no new work.
    stop: CancellationToken,
    /// Cuts every connection.
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds and serves, in tasks of the current runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let cut = CancellationToken::new();
        let listener = bind(options.listen)?;
        let address = listener.local_addr()?;
        let control = options.control;
        let state = Arc::new(State {
            model: options.model,
            latency: options.latency,
            token_delay: options.token_delay,
            seed: options.seed.unwrap_or_else(rand::random),
            started: unix_seconds(),
            script: Mutex::new(options.script),
            recorder: Arc::new(Recorder::new(options.record)),
            stopping: stop.clone(),
        });
        let app = routes::router(Arc::clone(&state), control);
        let tasks = TaskTracker::new();
        tasks.spawn(serve(app, Connections::new(listener, cut.clone()), stop.clone()));
        tasks.close();
        // Lets a caller who asks at once find the accept loop running.
        tokio::task::yield_now().await;
        Ok(Self {
            address,
            state,
            stop,
            cut,
            tasks,
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client is given as its base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Replaces the script for the requests to come.
    pub fn script(&self, script: Script) {
        *self.state.script() = script;
    }

    /// Adds queues behind those of the script; its default stays.
    pub fn add(&self, script: Script) {
        self.state.script().extend(script);
    }

    /// Adds one behaviour for the next request that no earlier queue answers.
    pub fn push(&self, behaviour: Behaviour) {
        self.add(Script::new().then([behaviour]));
    }

    /// Adds one behaviour for the next request whose last user message contains `text`.
    pub fn push_when(&self, text: impl Into<String>, behaviour: Behaviour) {
        self.add(Script::new().when(text, [behaviour]));
    }

    /// How many queued behaviours have not been used.
    pub fn remaining(&self) -> usize {
        self.state.script().remaining()
    }

    /// The requests received, oldest first, as many as are kept.
    pub fn requests(&self) -> Vec<Arc<Recorded>> {
        self.state.recorder.list()
    }

    /// Forgets the requests received; the counters go on.
    pub fn clear_requests(&self) {
        self.state.recorder.clear();
    }

    /// How many requests there were and are.
    pub fn counts(&self) -> Counts {
        self.state.recorder.counts()
    }

    /// Waits until `n` requests in all have been received.
    pub async fn wait_received(&self, n: u64) {
        self.state.recorder.wait(|counts| counts.received >= n).await;
    }

    /// Waits until no request is being answered: none waits, and callers that went away have been noticed.
    pub async fn wait_idle(&self) {
        self.state.recorder.wait(|counts| counts.in_flight == 0).await;
    }

    /// Stops: takes nothing new, lets answers under way finish for at most `grace`, then cuts.
    pub async fn shutdown_within(self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }

    /// Stops at once, cutting whatever is under way.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.cut.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

fn bind(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(app: Router, connections: Connections, stop: CancellationToken) {
    let app = app.into_make_service_with_connect_info::<Connection>();
    if let Err(error) = axum::serve(connections, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
    {
        tracing::error!(%error, "the server stopped");
    }
}

/// Seconds since 1970, for the `created` member.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
