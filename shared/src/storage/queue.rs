//! The queue: posting a message enqueues a run, workers claim runs, the rescuer returns the runs of dead workers.

pub mod claims;
pub mod control;
pub mod posts;
pub mod rescue;
pub mod workers;
