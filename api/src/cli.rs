//! The subcommands of `errand-api` other than `serve`.

pub mod create_user;
pub mod migrate;
pub mod renotify;
pub mod token;
pub mod verify;
