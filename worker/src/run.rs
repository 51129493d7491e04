//! One run from its claim to its end: the tool loop, its transactions and its events.

mod commit_in_flight;
mod conclusion;
mod deferred_step;
pub(crate) mod driver;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod finish;
mod mcp_calls;
pub(crate) mod step_transaction;
mod transcript;
