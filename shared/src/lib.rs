//! What the API and the worker must agree on: domain rows, all SQL, the bell, run events, settings and process plumbing.
//!
//! It knows no HTTP framework, no model and no tool loop.

pub mod agents;
pub mod call;
pub mod chat;
pub mod clock;
pub mod config;
pub mod db;
pub mod event_log;
pub mod events;
pub mod finals;
pub mod hint;
mod inbox;
pub mod kill_point;
pub mod lifecycle;
pub mod limits;
pub mod metrics;
pub mod notifier;
pub mod open_files;
pub mod parked;
pub mod redis_client;
pub mod run;
pub mod runtime;
pub mod telemetry;
pub mod timing;

pub use uuid::Uuid;
