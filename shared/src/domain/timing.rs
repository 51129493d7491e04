//! How long the phases of a run took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The duration of each phase of a finished run's last attempt, as its worker measured it. Stored in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTiming {
    queue: u64,
    model: u64,
    tools: u64,
    persist: u64,
}

impl RunTiming {
    /// Creates the timing. Durations saturate at `u64::MAX` microseconds.
    pub fn new(queue: Duration, model: Duration, tools: Duration, persist: Duration) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            queue: micros(queue),
            model: micros(model),
            tools: micros(tools),
            persist: micros(persist),
        }
    }

    /// Time in the queue, from the enqueueing to the claim.
    pub const fn queue(self) -> Duration {
        Duration::from_micros(self.queue)
    }

    /// Time of all model calls, including retries and any wait for the commit of the previous step.
    pub const fn model(self) -> Duration {
        Duration::from_micros(self.model)
    }

    /// Time of all tool calls, each until the next model call could start.
    pub const fn tools(self) -> Duration {
        Duration::from_micros(self.tools)
    }

    /// Time to store the outcome. 0 if unknown.
    pub const fn persist(self) -> Duration {
        Duration::from_micros(self.persist)
    }
}
