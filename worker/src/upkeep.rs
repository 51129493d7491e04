//! What a worker does besides executing runs: it sends heartbeats, rescues stuck runs and deletes old data.

pub(crate) mod heartbeat;
pub(crate) mod liveness;
pub(crate) mod rescuer;
pub(crate) mod retention;
