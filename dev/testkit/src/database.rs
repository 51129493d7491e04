//! A database for each test, created from a template with the schema.

use std::{panic::resume_unwind, str::FromStr, thread};

use errand_shared::{Uuid, storage::schema};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Row, postgres::PgConnectOptions,
};
use tokio::runtime::Builder;

use crate::environment::database_url;

/// The database of one test. Dropping this value drops the database too, unless the test has failed: then it is kept for
/// inspection.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: PgConnectOptions,
    options: PgConnectOptions,
    url: String,
    /// Connections to it.
    pub pool: PgPool,
}

/// The key of the advisory lock that is held while the template is created.
const TEMPLATE_LOCK: i64 = 0x00e4_4a4d;

impl Database {
    /// Creates a database with the schema.
    ///
    /// # Panics
    /// If Postgres returns an error.
    pub async fn new() -> Self {
        Self::on(&database_url()).await
    }

    /// Creates a database on another server, given the URL of any of its databases.
    ///
    /// # Panics
    /// If Postgres returns an error.
    #[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
    pub async fn on(server_url: &str) -> Self {
        let server = PgConnectOptions::from_str(server_url).unwrap();
        let mut admin = server
            .clone()
            .disable_statement_logging()
            .connect()
            .await
            .unwrap();
        let template = template(&server, &mut admin).await;
        let name = format!("errand_test_{}", Uuid::now_v7().simple());
        execute(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        admin.close().await.unwrap();
        let options = server.clone().database(&name);
        let pool = PgPool::connect_lazy_with(options.clone());
        let url = with_database(server_url, &name);
        Self {
            name,
            server,
            options,
            url,
            pool,
        }
    }

    /// The URL of the database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number that a query returns.
    ///
    /// # Panics
    /// If the query fails.
    #[expect(clippy::unwrap_used, reason = "a test's own query")]
    pub async fn count(&self, query: &str) -> i64 {
        self.try_count(query).await.unwrap()
    }

    /// The number that a query returns, read on a new connection, so that any runtime can call this.
    #[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
    pub(crate) async fn read_count(&self, query: &str) -> i64 {
        let mut connection = self.options.connect().await.unwrap();
        let row = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut connection)
            .await;
        row.unwrap().get(0)
    }

    /// The number that a query returns, while Postgres may be unavailable.
    ///
    /// # Errors
    /// If Postgres returns an error or cannot be reached.
    pub async fn try_count(&self, query: &str) -> Result<i64, sqlx::Error> {
        Ok(sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.pool)
            .await?
            .get(0))
    }

    /// The texts in the rows of a query.
    ///
    /// # Panics
    /// If the query fails, or a text is null.
    #[expect(clippy::unwrap_used, reason = "a test's own query")]
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_all(&self.pool)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Executes SQL statements.
    ///
    /// # Errors
    /// If Postgres returns an error.
    pub async fn execute(&self, statements: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// The connection options.
    pub const fn options(&self) -> &PgConnectOptions {
        &self.options
    }
}

impl Drop for Database {
    #[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let drop_database = async {
            let mut admin = self.server.connect().await.unwrap();
            // FORCE ends the sessions that are still open.
            execute(&mut admin, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
        };
        // On another thread, because a runtime cannot be started on a thread that runs one.
        thread::scope(|scope| {
            let dropping = scope.spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(drop_database);
            });
            dropping.join().unwrap_or_else(|panic| resume_unwind(panic));
        });
    }
}

/// Returns the name of the template for the current migrations. The first test that needs it creates it.
#[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
async fn template(server: &PgConnectOptions, admin: &mut PgConnection) -> String {
    let name = format!("errand_template_{}", schema::fingerprint());
    execute(admin, &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    let exists = sqlx::raw_sql(AssertSqlSafe(format!(
        "SELECT FROM pg_database WHERE datname = '{name}'"
    )))
    .fetch_optional(&mut *admin)
    .await
    .unwrap();
    if exists.is_none() {
        let draft = format!("{name}_draft");
        execute(admin, &format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)")).await;
        execute(admin, &format!("CREATE DATABASE {draft}")).await;
        schema::migrate(server.clone().database(&draft)).await.unwrap();
        execute(admin, &format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    execute(admin, &format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})")).await;
    name
}

#[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap();
}

/// Replaces the database in a URL.
#[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
fn with_database(url: &str, name: &str) -> String {
    let mut url = reqwest::Url::parse(url).unwrap();
    url.set_path(name);
    url.to_string()
}
