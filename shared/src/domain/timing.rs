//! Where the time of a run went.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the time of a run went that has ended: of its last attempt, as its worker measured it. In
/// microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTiming {
    queue: u64,
    model: u64,
    tools: u64,
    persist: u64,
}

impl RunTiming {
    /// The times; of each, what is beyond half a million years is forgotten.
    pub fn new(queue: Duration, model: Duration, tools: Duration, persist: Duration) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            queue: micros(queue),
            model: micros(model),
            tools: micros(tools),
            persist: micros(persist),
        }
    }

    /// From when the run was queued to its claim.
    pub const fn queue(self) -> Duration {
        Duration::from_micros(self.queue)
    }

    /// All model calls, with what lay between their tries and with what the commit of the step before took longer.
    pub const fn model(self) -> Duration {
        Duration::from_micros(self.model)
    }

    /// The transactions of all tool calls, each until the model could be asked about it.
    pub const fn tools(self) -> Duration {
        Duration::from_micros(self.tools)
    }

    /// Storing the end; 0 if it is not known.
    pub const fn persist(self) -> Duration {
        Duration::from_micros(self.persist)
    }
}
