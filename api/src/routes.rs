//! The routes, one file per resource.

pub(crate) mod admin;
pub(crate) mod approvals;
pub(crate) mod auth;
pub(crate) mod chat;
pub(crate) mod conversations;
pub(crate) mod health;
pub(crate) mod messages;
pub(crate) mod runs;
pub(crate) mod tasks;
pub(crate) mod ws;
