//! Runs the API and workers in the test's process, with real Postgres, real Redis and the simulated model.

use std::{net::SocketAddr, thread, time::Duration};

use clap::Parser;
use errand_api::{Api, ApiSettings};
use errand_fake_model::{Options, Server};
use errand_shared::{Uuid, service::lifecycle::Lifecycle};
use errand_worker::{Worker, WorkerSettings};

use crate::{
    database::Database,
    environment::{database_url, redis_url},
    eventually::eventually,
    service::{Service, ServiceRuntime},
    user::{Reply, User},
};

/// The time after which a paused Redis is considered unavailable.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// The secret that signs the tests' tokens.
const JWT_SECRET: &str = "a secret for tests only, 32 bytes or more";

/// A running Errand.
///
/// Dropping it stops every API and worker, asserts that no run is open, and drops the database. If the test has failed,
/// the database is kept for inspection.
#[derive(Debug)]
pub struct TestApp {
    /// The database.
    pub database: Database,
    /// The simulated model.
    pub model: Server,
    apis: Vec<RunningApi>,
    workers: Vec<RunningWorker>,
    redis_url: String,
    redis_prefix: String,
    api_arguments: Vec<String>,
    worker_arguments: Vec<String>,
    http: reqwest::Client,
    /// Runs the APIs, the workers and the model. Declared last, so that it is dropped after them.
    runtime: ServiceRuntime,
}

#[derive(Debug)]
struct RunningApi {
    address: SocketAddr,
    admin: SocketAddr,
    service: Service,
}

/// A worker in the test's process. Dropping it stops it and waits until it has stopped.
#[derive(Debug)]
pub struct RunningWorker {
    /// The id with which the worker holds its leases.
    pub id: Uuid,
    admin: SocketAddr,
    service: Service,
}

impl RunningWorker {
    /// The metrics in the Prometheus format.
    pub async fn metrics(&self) -> String {
        read_metrics(self.admin).await
    }

    /// Asks the worker to stop and waits until it has.
    ///
    /// # Panics
    /// If it panicked.
    pub async fn stop(self) {
        self.service.stop().await;
    }
}

/// Configures a [`TestApp`].
#[derive(Debug)]
pub struct Builder {
    apis: usize,
    workers: usize,
    model: Options,
    redis_url: Option<String>,
    postgres_url: Option<String>,
    database_url: Option<String>,
    api_arguments: Vec<String>,
    worker_arguments: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            apis: 1,
            workers: 1,
            model: Options::default(),
            redis_url: None,
            postgres_url: None,
            database_url: None,
            api_arguments: Vec::new(),
            worker_arguments: Vec::new(),
        }
    }
}

impl Builder {
    /// The number of APIs.
    #[must_use]
    pub const fn apis(mut self, apis: usize) -> Self {
        self.apis = apis;
        self
    }

    /// The number of workers.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The options of the simulated model.
    #[must_use]
    pub fn model(mut self, model: Options) -> Self {
        self.model = model;
        self
    }

    /// Uses another Redis.
    #[must_use]
    pub fn redis_url(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    /// Uses another Postgres, given the URL of any of its databases.
    #[must_use]
    pub fn postgres_url(mut self, url: impl Into<String>) -> Self {
        self.postgres_url = Some(url.into());
        self
    }

    /// Connects to the database by another URL, such as that of a proxy. `{}` is replaced by the database's name.
    #[must_use]
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.database_url = Some(url.into());
        self
    }

    /// Adds an argument of the API.
    #[must_use]
    pub fn api(mut self, argument: impl Into<String>) -> Self {
        self.api_arguments.push(argument.into());
        self
    }

    /// Adds an argument of the workers.
    #[must_use]
    pub fn worker(mut self, argument: impl Into<String>) -> Self {
        self.worker_arguments.push(argument.into());
        self
    }

    /// Starts everything.
    ///
    /// # Panics
    /// If a part does not start.
    #[expect(clippy::unwrap_used, reason = "a test without its services can only fail")]
    pub async fn start(self) -> TestApp {
        let database = Database::on(&self.postgres_url.unwrap_or_else(database_url)).await;
        let runtime = ServiceRuntime::new();
        let brain = errand_model::answer;
        let options = Options { brain, ..self.model };
        let model = runtime.run(Server::start(options)).await.unwrap();
        let redis_url = self.redis_url.unwrap_or_else(redis_url);
        let redis_prefix = format!("errand-test:{}:", Uuid::now_v7().simple());
        let database_url = self.database_url.map_or_else(
            || database.url().to_owned(),
            |url| url.replace("{}", database.options().get_database().unwrap_or_default()),
        );
        let stores = [
            format!("--database-url={database_url}"),
            format!("--redis-url={redis_url}"),
            format!("--redis-prefix={redis_prefix}"),
        ];
        let mut api_arguments = stores.to_vec();
        api_arguments.extend([
            format!("--jwt-secret={JWT_SECRET}"),
            "--listen-addr=127.0.0.1:0".to_owned(),
            "--admin-listen-addr=127.0.0.1:0".to_owned(),
            "--rate-limit-auth-per-minute=0".to_owned(),
            "--database-pool-size=6".to_owned(),
        ]);
        api_arguments.extend(self.api_arguments);
        let mut worker_arguments = stores.to_vec();
        worker_arguments.extend([
            format!("--openai-base-url={}", model.base_url()),
            "--admin-listen-addr=127.0.0.1:0".to_owned(),
            "--database-pool-size=6".to_owned(),
            "--model-retry-base-ms=5".to_owned(),
            "--model-retry-max-ms=50".to_owned(),
        ]);
        worker_arguments.extend(self.worker_arguments);
        let mut app = TestApp {
            database,
            model,
            apis: Vec::new(),
            workers: Vec::new(),
            redis_url,
            redis_prefix,
            api_arguments,
            worker_arguments,
            http: reqwest::Client::builder().build().unwrap(),
            runtime,
        };
        for _ in 0..self.apis {
            app.add_api().await;
        }
        for _ in 0..self.workers {
            let worker = app.start_worker().await;
            app.workers.push(worker);
        }
        app
    }
}

/// Parses the arguments of the API.
#[derive(Parser)]
struct ApiProgram {
    #[command(flatten)]
    settings: ApiSettings,
}

/// Parses arguments. The last value of an argument counts, so tests can override the defaults.
#[expect(clippy::unwrap_used, reason = "a test with an invalid setting can only fail")]
fn parse<P: Parser>(arguments: impl Iterator<Item = String>) -> P {
    let command = P::command().args_override_self(true);
    P::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
}

impl TestApp {
    /// One API, one worker, the demo model.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Configures a test app.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts another API and returns its index.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn add_api(&mut self) -> usize {
        self.add_api_with(&[]).await
    }

    /// Starts another API with additional arguments.
    ///
    /// # Panics
    /// If it does not start.
    #[expect(clippy::unwrap_used, reason = "a test without its services can only fail")]
    pub async fn add_api_with(&mut self, more: &[&str]) -> usize {
        let more = more.iter().map(|argument| (*argument).to_owned());
        let arguments = std::iter::once("errand-api".to_owned())
            .chain(self.api_arguments.clone())
            .chain(more);
        let settings = parse::<ApiProgram>(arguments).settings;
        let lifecycle = Lifecycle::new();
        let api = self
            .runtime
            .enter(|| Api::start(settings, lifecycle.clone()))
            .unwrap();
        let address = api.addr().unwrap();
        let admin = api.admin_addr().unwrap();
        let service = self.runtime.spawn(api.run(), lifecycle);
        self.apis.push(RunningApi {
            address,
            admin,
            service,
        });
        self.wait_until_ready(address).await;
        self.apis.len() - 1
    }

    /// Starts a worker that the test owns.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_worker(&self) -> RunningWorker {
        self.start_worker_with(&[]).await
    }

    /// Starts a worker with additional arguments.
    ///
    /// # Panics
    /// If it does not start.
    #[expect(clippy::unwrap_used, reason = "a test without its services can only fail")]
    pub async fn start_worker_with(&self, more: &[&str]) -> RunningWorker {
        let more = more.iter().map(|argument| (*argument).to_owned());
        let arguments = std::iter::once("errand-worker".to_owned())
            .chain(self.worker_arguments.clone())
            .chain(more);
        let settings = parse::<WorkerSettings>(arguments);
        let lifecycle = Lifecycle::new();
        let worker = self.runtime.run(Worker::start(settings)).await.unwrap();
        let id = worker.id();
        let admin = worker.admin_addr().unwrap();
        let service = self.runtime.spawn(worker.run(lifecycle.clone()), lifecycle);
        RunningWorker { id, admin, service }
    }

    /// Stops an API.
    ///
    /// # Panics
    /// If there is no API with this index, or it panicked.
    pub async fn stop_api(&mut self, api: usize) {
        self.apis.remove(api).service.stop().await;
    }

    /// Takes a worker that the app has started.
    ///
    /// # Panics
    /// If it does not exist.
    #[expect(
        clippy::unwrap_used,
        reason = "a test that needs a missing part can only fail"
    )]
    pub fn take_worker(&mut self) -> RunningWorker {
        self.workers.pop().unwrap()
    }

    /// The URL of the first API.
    ///
    /// # Panics
    /// If it does not exist.
    pub fn url(&self) -> String {
        self.url_of(0)
    }

    /// The URL of an API.
    ///
    /// # Panics
    /// If there is no API with this index.
    #[expect(
        clippy::indexing_slicing,
        reason = "a test that needs a missing part can only fail"
    )]
    pub fn url_of(&self, api: usize) -> String {
        format!("http://{}", self.apis[api].address)
    }

    /// The metrics of the first API in the Prometheus format.
    ///
    /// # Panics
    /// If there is no API, or it returns no metrics.
    #[expect(
        clippy::indexing_slicing,
        reason = "a test that needs a missing part can only fail"
    )]
    pub async fn api_metrics(&self) -> String {
        read_metrics(self.apis[0].admin).await
    }

    /// The metrics of the first worker that the app has started.
    ///
    /// # Panics
    /// If there is no worker, or it returns no metrics.
    #[expect(
        clippy::indexing_slicing,
        reason = "a test that needs a missing part can only fail"
    )]
    pub async fn worker_metrics(&self) -> String {
        self.workers[0].metrics().await
    }

    /// An HTTP client with keep-alive connections.
    pub fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// Registers a user.
    pub async fn user(&self, name: &str) -> User {
        User::register(self.http(), self.url(), name).await
    }

    /// Registers an admin.
    ///
    /// # Panics
    /// If the API or Postgres returns an error.
    #[expect(clippy::unwrap_used, reason = "a test without its admin can only fail")]
    pub async fn admin(&self) -> User {
        let mut user = self.user("Root").await;
        let promote = format!("UPDATE users SET role = 'admin' WHERE id = '{}'", user.id);
        self.database.execute(&promote).await.unwrap();
        let body = serde_json::json!({"email": user.email, "password": User::PASSWORD});
        let login = Reply::read(self.http.post(format!("{}/auth/login", self.url())).json(&body)).await;
        login.text("access_token").clone_into(&mut user.token);
        user
    }

    /// The Redis key of the list of notifications.
    pub fn ready_key(&self) -> String {
        format!("{}ready", self.redis_prefix)
    }

    /// The Redis channel of finished runs.
    pub fn finished_channel(&self) -> String {
        format!("{}finals", self.redis_prefix)
    }

    /// A connection to Redis.
    ///
    /// # Panics
    /// If Redis cannot be reached.
    #[expect(clippy::unwrap_used, reason = "a test without its services can only fail")]
    pub async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis_url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// A connection to Redis for subscriptions.
    ///
    /// # Panics
    /// If Redis cannot be reached.
    #[expect(clippy::unwrap_used, reason = "a test without its services can only fail")]
    pub async fn subscriber(&self) -> redis::aio::PubSub {
        let client = redis::Client::open(self.redis_url.as_str()).unwrap();
        client.get_async_pubsub().await.unwrap()
    }

    /// The arguments of a worker, for a test that starts one as a process.
    pub fn worker_arguments(&self) -> &[String] {
        &self.worker_arguments
    }

    /// The arguments of an API, for a test that starts one as a process.
    pub fn api_arguments(&self) -> &[String] {
        &self.api_arguments
    }

    /// Waits until no run is open.
    ///
    /// # Panics
    /// If a run stays open.
    pub async fn drained(&self) {
        let open = "SELECT count(*) FROM runs WHERE finished_at IS NULL";
        eventually("no run is open", || async {
            self.database.try_count(open).await.is_ok_and(|open| open == 0)
        })
        .await;
    }

    /// Waits until an API is ready, or degraded if Redis is unavailable.
    async fn wait_until_ready(&self, address: SocketAddr) {
        let has_redis = self.has_redis().await;
        eventually("the API is ready", || async {
            let ready = Reply::read(self.http.get(format!("http://{address}/readyz"))).await;
            ready.status == 200 && (ready.text("status") == "ready" || !has_redis)
        })
        .await;
    }

    async fn has_redis(&self) -> bool {
        let Ok(client) = redis::Client::open(self.redis_url.as_str()) else {
            return false;
        };
        let connecting = client.get_multiplexed_async_connection();
        matches!(tokio::time::timeout(REDIS_TIMEOUT, connecting).await, Ok(Ok(_)))
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let open = self.runtime.wait_for(
            self.database
                .read_count("SELECT count(*) FROM runs WHERE finished_at IS NULL"),
        );
        self.apis.clear();
        self.workers.clear();
        assert_eq!(open, 0, "runs are still open");
    }
}

#[expect(clippy::unwrap_used, reason = "a test without its metrics can only fail")]
async fn read_metrics(admin: SocketAddr) -> String {
    let response = reqwest::get(format!("http://{admin}/metrics")).await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}
