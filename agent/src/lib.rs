//! The tool loop of an agent as a state machine, without IO.
//!
//! [`AgentRun`] makes every decision: what the model sees, which tool calls are executed or refused, and when and how the
//! loop ends. It knows no clock, network, database or tool, so the same inputs always lead to the same run. The caller
//! carries out the [next action](AgentRun::next) and passes the result back:
//!
//! ```
//! use std::sync::Arc;
//!
//! use errand_agent::{Action, AgentRun, Instructions, Limits, Prompt};
//! # use errand_agent::{FinishReason, Message, ModelAnswer, PlannedCall, Usage};
//! # fn call_model(messages: &[Message]) -> ModelAnswer {
//! #     let content = "Hello!".to_owned();
//! #     let (usage, model) = (Usage::default(), String::new());
//! #     ModelAnswer { content, refusal: None, tool_calls: Vec::new(), finish: FinishReason::Stop, usage, model, provider_data: None }
//! # }
//! # fn execute(_: &PlannedCall) -> String { String::new() }
//!
//! let instructions = Arc::new(Instructions::new("You are a friendly assistant."));
//! let prompt = Prompt::new("Ann", "2026-01-31", instructions);
//! let mut run = AgentRun::new(Limits::default(), prompt, Vec::new(), "Hi!".to_owned(), Vec::new());
//! let reply = loop {
//!     match run.next() {
//!         Action::CallModel { messages } => {
//!             let answer = call_model(messages);
//!             run.model_answered(answer);
//!         }
//!         Action::CallTools { calls, .. } => {
//!             let results = calls.iter().map(|call| call.refusal().unwrap_or_else(|| execute(call))).collect();
//!             run.tools_finished(results);
//!         }
//!         Action::Reply { text } => break Ok(text.to_owned()),
//!         Action::Fail(failure) => break Err(*failure),
//!     }
//! };
//! assert_eq!(reply.as_deref(), Ok("Hello!"));
//! ```

mod answer;
mod clean;
mod ids;
mod message;
mod plan;
mod prompt;
mod reply_from_results;
mod run;
mod transcript;
mod turn;

pub use answer::{FinishReason, ModelAnswer, Usage};
pub use message::{Message, ToolCall, ToolSpec};
pub use plan::PlannedCall;
pub use prompt::{Instructions, Prompt};
pub use run::{Action, AgentFailure, AgentRun, Limits};
pub use turn::{JournalledStep, RecordedCall, Turn, TurnOutcome};
