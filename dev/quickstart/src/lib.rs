//! The quick start: private Postgres and Redis as child processes, Errand's
//! programs on top of them, a first user and a first answer.
//!
//! Tests use [`postgres::Postgres`] and [`redis::Redis`] for servers of their
//! own, which they may restart, freeze or crash. Nothing here speaks SQL or
//! knows what the programs do with their services.

mod backing;
pub mod cargo;
pub mod cli;
pub mod error;
mod folder;
mod http;
mod logs;
mod owner;
pub mod packages;
mod pid_file;
pub mod ports;
pub mod postgres;
mod process;
pub mod redis;
mod run_command;
mod say;
mod scratch;
pub mod secret;
mod server;
mod services;
mod signals;
mod test;
mod up;

pub use error::{Error, Result};
