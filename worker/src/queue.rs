//! The job queue: Redis notifies the worker of runs that are ready, Postgres decides which worker claims them.
//!
//! Redis holds the ids of runs and nothing else. A notification that is lost, duplicated, late or malformed costs at most a delay: the claim
//! in Postgres decides which worker gets a run, and the rescuer notifies again of runs that still wait. The queue is a list with a blocking
//! pop rather than a stream, because its entries need no acknowledgement and no trimming.

pub(crate) mod backend;
pub(crate) mod claimer;
pub(crate) mod control_listener;
mod fair_queue;
mod notifications;
pub(crate) mod run_registry;
