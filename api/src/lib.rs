//! The HTTP API: takes messages, waits for answers, shows what is stored.
//!
//! It never sees the agent or the model; what it knows of a run it reads from Postgres or hears from Redis.

pub mod auth;
pub mod error;
pub mod extract;
pub mod problem;
pub mod queue_depth;
pub mod rate;
pub mod routes;
pub mod settings;
pub mod state;
pub mod waiter;
