//! The five to-do tools: their specifications and their execution in the caller's transaction.
//!
//! The worker's loop and the API's MCP server call the same functions, and the task routes share [`rules`]. Nothing
//! here knows who calls: no model, no HTTP, no transaction of its own. The user is always the caller's word, never an
//! argument.

mod arguments;
mod call;
mod call_all;
mod failure;
mod outcome;
pub mod rules;
mod schema;
mod spec;

pub use call::{call, unknown_tool};
pub use call_all::{Call, call_all};
pub use outcome::{ToolOutcome, approval_expired, declined, internal_error, outcome_unknown};
pub use spec::{ADD, Annotations, ToolSpec, find, specs};
