//! The HTTP API: takes messages, waits for answers, shows what is stored.
//!
//! It never sees the agent or the model; what it knows of a run it reads from Postgres or hears from Redis.

mod answer;
mod api;
mod app;
mod approve;
mod auth;
mod cancel;
mod capacity;
mod chat;
pub mod commands;
mod cursor;
mod error;
mod extract;
mod live;
mod mcp;
mod metrics;
#[cfg(feature = "micro")]
pub mod micro;
mod openapi;
mod origin;
mod outlook;
mod page;
mod prefer;
mod problem;
mod query;
mod queue_depth;
mod rate;
mod request_id;
mod routes;
mod server;
mod server_timing;
mod settings;
mod state;
mod waiter;

pub use api::Api;
pub use settings::{ApiSettings, AuthSettings, ChatSettings, HttpSettings, LiveSettings, McpSettings};
