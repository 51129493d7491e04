//! The rules and rows that the API and the worker share: the domain, all SQL, the Redis signals and the plumbing of a process.
//!
//! It knows no HTTP framework, no model client and no tool loop.

pub mod domain;
pub mod service;
pub mod signals;
pub mod storage;

pub use uuid::Uuid;
