//! The job queue: notifications from Redis, leases from Postgres, runs in flight.

pub(crate) mod backend;
pub(crate) mod claimer;
pub(crate) mod control_listener;
mod fair_queue;
mod notifications;
pub(crate) mod run_registry;
