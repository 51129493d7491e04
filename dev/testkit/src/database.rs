//! A database of a test's own, made from a template that has the schema.

use std::{panic::resume_unwind, str::FromStr, thread};

use errand_shared::{Uuid, storage::schema};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, Row, postgres::PgConnectOptions,
};
use tokio::runtime::Builder;

use crate::environment::database_url;

/// A database of a test's own. Dropping this value drops the database too, unless the test has failed: then the database
/// stays, to be looked at.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: PgConnectOptions,
    options: PgConnectOptions,
    url: String,
    /// Connections to it.
    pub pool: PgPool,
}

/// Key of the advisory lock under which the template is made.
const TEMPLATE_LOCK: i64 = 0x00e4_4a4d;

impl Database {
    /// Makes a database with the schema.
    ///
    /// # Panics
    /// If Postgres does not do as asked.
    pub async fn new() -> Self {
        Self::on(&database_url()).await
    }

    /// The same on another server, given as a URL of any of its databases.
    ///
    /// # Panics
    /// If Postgres does not do as asked.
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

    /// The database as a URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A number that a query counts.
    ///
    /// # Panics
    /// If the query fails.
    #[expect(clippy::unwrap_used, reason = "a test's own query")]
    pub async fn count(&self, query: &str) -> i64 {
        self.try_count(query).await.unwrap()
    }

    /// A number that a query counts, read through a connection of its own, which any runtime can use.
    #[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
    pub(crate) async fn read_count(&self, query: &str) -> i64 {
        let mut connection = self.options.connect().await.unwrap();
        let row = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut connection)
            .await;
        row.unwrap().get(0)
    }

    /// A number that a query counts, while Postgres may be away.
    ///
    /// # Errors
    /// What Postgres says, or that it says nothing.
    pub async fn try_count(&self, query: &str) -> Result<i64, sqlx::Error> {
        Ok(sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_one(&self.pool)
            .await?
            .get(0))
    }

    /// The texts that a query finds, one a row.
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

    /// Does something to the database.
    ///
    /// # Errors
    /// What Postgres says.
    pub async fn execute(&self, statements: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// How to connect to it.
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

/// The template's name; made by the first test that needs it, for each content of the migrations.
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
        let making = format!("{name}_making");
        execute(admin, &format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)")).await;
        execute(admin, &format!("CREATE DATABASE {making}")).await;
        schema::migrate(server.clone().database(&making)).await.unwrap();
        execute(admin, &format!("ALTER DATABASE {making} RENAME TO {name}")).await;
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

/// The URL with another database.
#[expect(clippy::unwrap_used, reason = "a test without its database can only fail")]
fn with_database(url: &str, name: &str) -> String {
    let mut url = reqwest::Url::parse(url).unwrap();
    url.set_path(name);
    url.to_string()
}
