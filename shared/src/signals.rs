//! What the programs send each other over Redis. Every signal may be lost, repeated or late: Postgres is the source of truth.

pub mod delivery;
pub mod event_log;
pub mod notifier;
pub mod redis_client;
pub mod run_finished;
pub mod wire;
