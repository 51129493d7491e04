//! The scenarios: the number of clients, the time of the model, and the stored data.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::{
    Result,
    db_counters::{self, Claims, Counters},
    load::{self, Load},
    procfs::Usage,
    report::{Idle, Row},
    seed_data::{self, SeedSize},
    stack::Stack,
};

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// A description.
    pub(crate) description: &'static str,
    /// The number of clients; 0 measures an idle stack.
    pub(crate) clients: usize,
    /// The time of a model call in milliseconds. Each chat has two.
    model_ms: u64,
    /// Whether `pgbench` runs afterwards, with the same number of sessions and pauses of the same length.
    pub(crate) has_pgbench: bool,
    /// The data that is stored before.
    stored: Stored,
}

/// The data that is stored before a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// Nothing. Each chat starts a conversation.
    Nothing,
    /// Each user continues a conversation of this number of messages.
    Conversations(u32),
    /// Full tables. Each chat starts a conversation.
    Tables,
    /// Full tables. Each user continues a conversation of this number of messages.
    TablesAndConversations(u32),
}

impl Stored {
    const fn messages(self) -> Option<u32> {
        match self {
            Self::Conversations(messages) | Self::TablesAndConversations(messages) => Some(messages),
            Self::Nothing | Self::Tables => None,
        }
    }

    const fn fills_tables(self) -> bool {
        matches!(self, Self::Tables | Self::TablesAndConversations(_))
    }
}

const PLAIN: Scenario = Scenario {
    name: "single",
    description: "one chat at a time, model at 0 ms",
    clients: 1,
    model_ms: 0,
    has_pgbench: true,
    stored: Stored::Nothing,
};

const SCENARIOS: [Scenario; 11] = [
    PLAIN,
    Scenario {
        name: "single-50",
        description: "one chat at a time, model at 50 ms a call",
        model_ms: 50,
        ..PLAIN
    },
    Scenario {
        name: "load-64",
        description: "64 chats at a time, model at 0 ms",
        clients: 64,
        ..PLAIN
    },
    Scenario {
        name: "waiting-4000",
        description: "4,000 chats at a time, model at 2 s a call",
        clients: 4000,
        model_ms: 2000,
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "waiting-10000",
        description: "10,000 chats at a time, model at 2 s a call",
        clients: 10_000,
        model_ms: 2000,
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "waiting-long",
        description: "10,000 chats at a time, model at 30 s a call",
        clients: 10_000,
        model_ms: 30_000,
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "idle",
        description: "all programs idle",
        clients: 0,
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "history-100",
        description: "one chat at a time in a conversation of 100 messages",
        stored: Stored::Conversations(100),
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "history-10000",
        description: "one chat at a time in a conversation of 10,000 messages, full tables",
        stored: Stored::TablesAndConversations(10_000),
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "single-full",
        description: "one chat at a time, full tables",
        stored: Stored::Tables,
        has_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "load-64-full",
        description: "64 chats at a time, full tables",
        clients: 64,
        stored: Stored::Tables,
        has_pgbench: false,
        ..PLAIN
    },
];

/// The results of a scenario.
pub(crate) enum Measured {
    /// Chats.
    Chats(Box<Row>),
    /// An idle stack.
    Idle(Idle),
}

impl Scenario {
    /// The scenario of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        SCENARIOS
            .into_iter()
            .find(|scenario| scenario.name == name)
            .ok_or_else(|| {
                let names = SCENARIOS.map(|scenario| scenario.name);
                format!("unknown scenario {name}; the scenarios are {}", names.join(", ")).into()
            })
    }

    /// The time of a model call.
    pub(crate) const fn model(&self) -> Duration {
        Duration::from_millis(self.model_ms)
    }

    /// The time of a chat if only the model takes time. It is called twice.
    pub(crate) fn ideal(&self) -> Duration {
        self.model() * 2
    }

    /// Starts the load and measures it once all clients are running.
    pub(crate) async fn measure(
        &self,
        stack: &Stack,
        seconds: u64,
        seed_size: SeedSize,
        turn: Option<Arc<Mutex<()>>>,
    ) -> Result<Measured> {
        if self.stored.fills_tables() {
            seed_data::tables(stack, seed_size).await?;
        }
        if self.clients == 0 {
            return self.measure_idle(stack, seconds).await.map(Measured::Idle);
        }
        // At least three times the time of a chat, so that chats at the end of the measured time distort little.
        let window = Duration::from_secs(seconds).max(self.ideal() * 3);
        let mut load = Load::start(stack, self.clients, self.ideal(), self.stored.messages(), turn).await?;
        // Warm-up: connections, caches, prepared statements. Afterwards every client is in the middle of a chat.
        load.run_for(Duration::from_secs(3) + self.ideal() * 2).await?;
        db_counters::reset_statements(stack).await?;
        let before = (Usage::of(stack)?, Counters::read(stack).await?);
        load.start_counting();
        load.run_for(window).await?;
        let times = load.stop_counting();
        let after = (Usage::of(stack)?, Counters::read(stack).await?);
        let claims = Claims::read(stack, window.as_secs_f64()).await?;
        let statements = db_counters::top_statements(stack, times.len()).await?;
        load.stop().await?;
        let summary = load::summary(times, window, self.ideal())?;
        let row = Row::new(self, summary, claims, after.0 - before.0, after.1 - before.1);
        Ok(Measured::Chats(Box::new(row.with_statements(statements))))
    }

    async fn measure_idle(&self, stack: &Stack, seconds: u64) -> Result<Idle> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = (Usage::of(stack)?, Counters::read(stack).await?);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = (Usage::of(stack)?, Counters::read(stack).await?);
        Ok(Idle::new(seconds, after.0 - before.0, after.1 - before.1))
    }
}
