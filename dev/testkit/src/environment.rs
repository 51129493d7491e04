//! The addresses of the servers that the tests use.

/// An environment variable; `None` if it is empty.
#[expect(clippy::disallowed_methods, reason = "tests are not programs with settings")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The Postgres server, as a URL of any of its databases.
///
/// # Panics
/// If `DATABASE_URL` is not set.
#[expect(clippy::expect_used, reason = "a test without its services can only fail")]
pub fn database_url() -> String {
    variable("DATABASE_URL").expect("DATABASE_URL: run the tests with `cargo alltests`")
}

/// The Redis server, as a URL.
///
/// # Panics
/// If `REDIS_URL` is not set.
#[expect(clippy::expect_used, reason = "a test without its services can only fail")]
pub fn redis_url() -> String {
    variable("REDIS_URL").expect("REDIS_URL: run the tests with `cargo alltests`")
}
