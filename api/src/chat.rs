//! The use cases of a chat: store a message and notify the workers, wait for its run, cancel it, retry it, approve its
//! tool calls.
//!
//! Each file says what it stores in Postgres and whom it notifies through Redis.

mod accept;
pub(crate) mod approve;
pub(crate) mod cancel;
mod message;
#[cfg(feature = "micro")]
pub mod micro;
pub(crate) mod queue_position;
pub(crate) mod response;
pub(crate) mod retry;
mod state;
mod wait;
pub(crate) mod waiter;

pub(crate) use accept::{Accepted, accept, conversation_of, post_and_wait, store_in_groups};
pub(crate) use message::{IfRunning, NewMessage};
pub(crate) use state::{ChatState, Parts, QUEUE_DEPTH_LIFETIME};
pub(crate) use wait::{RunSnapshot, wait_for_run};
