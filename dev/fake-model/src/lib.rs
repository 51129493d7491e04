//! A Chat Completions server whose answers are scripted: the simulated model of tests and load tests.
//!
//! It implements the protocol as providers do, streaming included, and answers each request with a [`Behaviour`] from a
//! [`Script`]: a text, tool calls, an error status, a broken stream, or the answer of a [`Brain`]. [`Latency`] and
//! [`Gate`] control when it answers. It knows nothing about Errand.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use errand_fake_model::{Behaviour, Options, Script, Server};
//!
//! let model = Server::start(Options::default()).await?;
//! model.script(Script::new().when("milk", [Behaviour::status(503), Behaviour::reply("Done.")]));
//! assert!(model.base_url().ends_with("/v1"));
//! model.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod behaviour;
mod gate;
mod latency;
mod record;
mod script;
mod server;
pub mod wire;

pub use behaviour::{Answer, Behaviour, Brain, Call};
pub use gate::Gate;
pub use latency::{InvalidLatency, Latency};
pub use record::{Counts, RecordedRequest};
pub use script::Script;
pub use server::{Options, Server};
pub use wire::{ChatRequest, FinishReason};
