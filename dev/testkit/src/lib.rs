//! Tests with real services: a database and a Redis prefix for each test, the API and workers in the test's process, and
//! the simulated model.
//!
//! `DATABASE_URL` and `REDIS_URL` name the servers; `cargo alltests` starts private ones and sets both.

mod agents_file;
mod app;
mod database;
mod environment;
mod events;
mod eventually;
mod process;
mod service;
mod socket;
mod user;

pub use agents_file::AgentsFile;
pub use app::{Builder, RunningWorker, TestApp};
pub use database::Database;
pub use environment::{database_url, redis_url, variable};
pub use errand_fake_mcp::{
    LostSession, McpAnnotations, McpEffect, McpFault, McpFixture, mcp_tool, mcp_tool_with,
};
pub use events::{Events, kind_of, kinds_of, seq_of, text_of};
pub use eventually::eventually;
pub use process::WorkerProcess;
pub use socket::{Frame, Socket};
pub use tokio_tungstenite::tungstenite::Message;
pub use user::{Reply, User};
