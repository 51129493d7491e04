//! The use cases of a chat: store a message and notify the workers, wait for its run, cancel it, approve its tool calls.
//!
//! Each file says what it stores in Postgres and whom it notifies through Redis.

mod accept;
pub(crate) mod approve;
pub(crate) mod cancel;
mod message;
#[cfg(feature = "micro")]
pub mod micro;
pub(crate) mod queue_depth;
pub(crate) mod queue_position;
pub(crate) mod response;
pub(crate) mod server_timing;
mod wait;
pub(crate) mod waiter;

pub(crate) use accept::{Accepted, chat, conversation_of, no_conversation, no_run, post};
pub(crate) use message::{IfRunning, NewMessage};
pub(crate) use wait::{Told, attach};
