//! The server: binds, serves and shuts down.

mod behave;
mod connection;
mod control;
mod response;
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

use crate::{Answer, Behaviour, Brain, Counts, Latency, RecordedRequest, Script, record::Recorder};
use connection::{Connection, Connections};

/// Length of the accept queue. A load test opens thousands of connections at once.
const BACKLOG: u32 = 16_384;

/// The server's configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on. Port 0 chooses a free port.
    pub listen: SocketAddr,
    /// Model name in responses.
    pub model: String,
    /// Delay before each answer.
    pub latency: Latency,
    /// Additional delay per token of the answer, whether streamed or not.
    pub token_delay: Duration,
    /// Makes IDs, latencies and random choices reproducible. Random if `None`.
    pub seed: Option<u64>,
    /// Decides how each request is answered.
    pub script: Script,
    /// Computes the answers for [`Behaviour::Demo`], the script's default. Initially it says "OK." to everything.
    pub brain: Brain,
    /// Number of requests to record for [`Server::requests`].
    pub record: usize,
    /// Enables the routes under `/__control`.
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
            brain: |_| Answer::Text("OK.".to_owned()),
            record: 10_000,
            control: false,
        }
    }
}

/// State shared by the handlers.
pub(crate) struct State {
    model: String,
    latency: Latency,
    token_delay: Duration,
    seed: u64,
    started: u64,
    script: Mutex<Script>,
    brain: Brain,
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

/// A running server. Dropping it closes all connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    /// Stops accepting connections and requests.
    stop: CancellationToken,
    /// Closes every connection.
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Binds the address and serves it in tokio tasks of the current runtime.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let abort = CancellationToken::new();
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
            brain: options.brain,
            recorder: Arc::new(Recorder::new(options.record)),
            stopping: stop.clone(),
        });
        let app = routes::router(Arc::clone(&state), control);
        let tasks = TaskTracker::new();
        tasks.spawn(serve(
            app,
            Connections::new(listener, abort.clone()),
            stop.clone(),
        ));
        tasks.close();
        // Starts the accept loop before the first request.
        tokio::task::yield_now().await;
        Ok(Self {
            address,
            state,
            stop,
            abort,
            tasks,
        })
    }

    /// The address that the server listens on, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for clients: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Replaces the script.
    pub fn script(&self, script: Script) {
        *self.state.script() = script;
    }

    /// Appends queues to the script. Keeps its default.
    pub fn add(&self, script: Script) {
        self.state.script().extend(script);
    }

    /// Appends one behaviour for the next request that no earlier queue answers.
    pub fn push(&self, behaviour: Behaviour) {
        self.add(Script::new().then([behaviour]));
    }

    /// Appends one behaviour for the next request whose last user message contains `text`.
    pub fn push_when(&self, text: impl Into<String>, behaviour: Behaviour) {
        self.add(Script::new().when(text, [behaviour]));
    }

    /// Number of queued behaviours that have not been used.
    pub fn remaining(&self) -> usize {
        self.state.script().remaining()
    }

    /// The recorded requests, oldest first.
    pub fn requests(&self) -> Vec<Arc<RecordedRequest>> {
        self.state.recorder.list()
    }

    /// Deletes the recorded requests. Counters keep their values.
    pub fn clear_requests(&self) {
        self.state.recorder.clear();
    }

    /// The current numbers of requests received and in flight.
    pub fn counts(&self) -> Counts {
        self.state.recorder.counts()
    }

    /// Waits until `n` requests in total have been received.
    pub async fn wait_received(&self, n: u64) {
        self.state.recorder.wait(|counts| counts.received >= n).await;
    }

    /// Waits until no request is in flight. A request whose client disconnected counts until the server notices.
    pub async fn wait_idle(&self) {
        self.state.recorder.wait(|counts| counts.in_flight == 0).await;
    }

    /// Stops accepting requests, waits up to `grace` for those in flight, then closes all connections.
    pub async fn shutdown_within(self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }

    /// Closes all connections immediately.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.abort.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
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
        tracing::error!(%error, "the server failed");
    }
}

/// Seconds since the Unix epoch, for the `created` member.
fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
