//! The worker: claims runs under a lease, executes the tool loop with a model, and stores the replies.
//!
//! It serves no HTTP except its admin listener, and does not call the API.

#[cfg(all(feature = "mutation-rescuer", not(debug_assertions)))]
compile_error!("mutations are for tests: build with debug assertions");

mod admin;
mod agents;
mod check_model;
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

pub use check_model::{CheckModelSettings, CheckReport, check_model};
pub use settings::{ApprovalSettings, LivenessSettings, ModelSettings, RunSettings, WorkerSettings};
pub use worker::{StartError, Worker};

/// Reads bytes as a model server's answer and checks the result: for dev/fuzz.
///
/// # Panics
/// If the result breaks a rule.
#[cfg(feature = "fuzzing")]
pub fn fuzz_reader(data: &[u8]) {
    model::fuzz_reader(data);
}
