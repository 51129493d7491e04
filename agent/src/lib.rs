//! The agent's decisions, without IO.
//!
//! [`AgentRun`] is the tool loop as a state machine: ask it what is [next](AgentRun::next), do that, tell it what came
//! of it. It owns every decision: what the model is shown, which calls are made or refused, when the loop ends and how.
//! It knows no clock, no network, no database and no tool: the same inputs always give the same run.

mod answer;
mod clean;
mod failure;
mod ids;
mod limits;
mod message;
mod plan;
mod prompt;
mod run;
mod transcript;
mod turn;

pub use answer::{FinishReason, ModelAnswer, Usage};
pub use failure::AgentFailure;
pub use limits::Limits;
pub use message::{Message, ToolCall, ToolSpec};
pub use plan::PlannedCall;
pub use prompt::Prompt;
pub use run::{Action, AgentRun};
pub use turn::{JournalledStep, PastCall, Turn, TurnOutcome};
