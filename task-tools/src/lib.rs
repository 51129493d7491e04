//! The five to-do tools: their specifications, their execution in the caller's transaction, and the agent's [`prompt`].
//!
//! The worker and the API's MCP server call the same functions, and the task routes share the validation [`rules`]. This
//! crate knows no model and no HTTP, and starts no transactions. The caller always supplies the user; a `user_id` among the
//! arguments is ignored.

mod arguments;
mod call;
mod call_all;
mod failure;
mod outcome;
pub mod prompt;
pub mod rules;
mod schema;
mod spec;

pub use call::{call, unknown_tool};
pub use call_all::call_all;
pub use outcome::{ToolOutcome, approval_expired, declined, internal_error, outcome_unknown};
pub use spec::{ADD, Annotations, ToolSpec, find, specs};
