//! The demo and simulated model server: speaks Chat Completions, answers by rules, by script, or badly.
//!
//! It owns the protocol as a provider speaks it, a rule-based brain for a to-do list ([`brain`]), and the
//! behaviours that tests and load tests ask for ([`Behaviour`], [`Script`], [`Latency`]). It knows nothing of
//! the programs that call it.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use errand_model::{Behaviour, Options, Script, Server};
//!
//! let model = Server::start(Options::default()).await?;
//! model.script(Script::new().when("milk", [Behaviour::status(503), Behaviour::reply("Done.")]));
//! assert!(model.base_url().ends_with("/v1"));
//! model.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod behaviour;
pub mod brain;
mod gate;
mod latency;
mod record;
mod script;
mod server;
pub mod wire;

pub use behaviour::Behaviour;
pub use gate::Gate;
pub use latency::{BadLatency, Latency};
pub use record::{Counts, Recorded};
pub use script::Script;
pub use server::{Options, Server};
pub use wire::{ChatRequest, FinishReason};
