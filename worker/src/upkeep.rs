//! What runs beside the queue: this worker's heartbeat, the rescue of stuck runs, the removal of old data.

pub(crate) mod heartbeat;
pub(crate) mod rescuer;
pub(crate) mod retention;
