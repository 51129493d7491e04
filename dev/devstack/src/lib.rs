//! Starts Postgres, Redis and Errand's programs on one machine, supervises them, and talks to the API over HTTP.
//!
//! The development tools are built on this crate: `cargo quickstart`, `cargo alltests`, `cargo chaos`, `cargo benchmark`
//! and the load tests. Tests use [`Postgres`] and [`Redis`] for servers that they restart, pause or crash.
//!
//! It contains no SQL and depends on no other crate of the workspace. It is compiled first on a newcomer's machine, so
//! its dependencies are few: no database driver, no TLS, no HTTP framework.

pub mod cargo;
pub mod client;
pub mod error;
pub mod files;
pub mod packages;
pub mod ports;
pub mod print;
pub mod process;
pub mod programs;
pub mod services;
pub mod stack;

pub use error::{Error, Result};
pub use services::postgres::Postgres;
pub use services::redis::Redis;
