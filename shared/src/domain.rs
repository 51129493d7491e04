//! The concepts of Errand as plain values: runs, chats, run events, agents. No SQL, no Redis, no HTTP status.

pub mod agents;
pub mod chat;
pub mod clock;
pub mod events;
pub mod limits;
pub mod run;
pub mod timing;
