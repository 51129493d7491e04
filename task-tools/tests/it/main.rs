//! The tools with a real Postgres and a separate database for each test.

mod batch;
mod changes;
mod failures;
mod list;
mod statements;
mod user;
