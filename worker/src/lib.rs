//! The worker: claims runs under a lease, drives the model's tool loop, stores the replies.
//!
//! It knows no HTTP but the model's and its own health; it never sees the API.

#[cfg(all(feature = "mutation-rescuer", not(debug_assertions)))]
compile_error!("sabotage is for tests: never in a build without debug assertions");

mod admin;
mod agents;
mod context;
mod metrics;
#[cfg(feature = "micro")]
pub mod micro;
mod model;
mod queue;
mod run;
mod settings;
mod upkeep;
mod worker;

pub use settings::{ApprovalSettings, LivenessSettings, ModelSettings, RunSettings, WorkerSettings};
pub use worker::{StartError, Worker};
