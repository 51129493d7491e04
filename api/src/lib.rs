//! The HTTP API: stores messages, waits for the workers' replies and serves what is stored.
//!
//! It never calls the agent or the model. Everything it knows about a run comes from Postgres or from Redis.

mod auth;
mod chat;
pub mod cli;
mod http;
mod live;
mod mcp;
mod metrics;
mod page;
mod routes;
mod server;
mod settings;
mod state;

#[cfg(feature = "micro")]
pub use chat::micro;
pub use server::Api;
pub use settings::{ApiSettings, AuthSettings, ChatSettings, HttpSettings, LiveSettings, McpSettings};
