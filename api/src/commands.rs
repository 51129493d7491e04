//! What an operator does from the command line.

pub mod create_user;
pub mod migrate;
pub mod renotify;
pub mod token;
pub mod verify;
