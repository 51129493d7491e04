//! The tools against a real Postgres, a database for each test.

mod failures;
mod list;
mod store;
mod together;
mod world;
mod write;
