//! Child processes: starting, supervising and stopping them.

pub(crate) mod child;
pub mod foreground;
pub(crate) mod restarts;
pub mod signals;
pub mod supervisor;
