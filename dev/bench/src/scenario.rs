//! What is measured: how many chats at once, how long the model thinks, and what is stored already.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::{
    Result,
    fill::{self, Ballast},
    load::{self, Load},
    procfs::Usage,
    report::{Idle, Row},
    stack::Stack,
    stores::{self, Claims, Counters},
};

/// One thing to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it is, in a sentence.
    pub(crate) what: &'static str,
    /// Chats at once; none to measure what doing nothing costs.
    pub(crate) clients: usize,
    /// How long the model thinks in milliseconds, each of a chat's two calls.
    model_ms: u64,
    /// Whether `pgbench` is to run after it, with as many sessions and as long pauses.
    pub(crate) compared_with_pgbench: bool,
    /// What is stored before it begins.
    stored: Stored,
}

/// What is stored before a scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// Nothing; every chat begins a conversation.
    Nothing,
    /// Every user has a conversation of so many messages, in which they go on.
    Conversations(u32),
    /// The tables are full; every chat begins a conversation.
    Tables,
    /// The tables are full, and every user has a conversation of so many messages, in which they go on.
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
    what: "one chat at a time, model at 0 ms",
    clients: 1,
    model_ms: 0,
    compared_with_pgbench: true,
    stored: Stored::Nothing,
};

const SCENARIOS: [Scenario; 11] = [
    PLAIN,
    Scenario {
        name: "single-50",
        what: "one chat at a time, model at 50 ms a call",
        model_ms: 50,
        ..PLAIN
    },
    Scenario {
        name: "load-64",
        what: "64 chats at a time, model at 0 ms",
        clients: 64,
        ..PLAIN
    },
    Scenario {
        name: "waiting-4000",
        what: "4,000 chats at a time, model at 2 s a call",
        clients: 4000,
        model_ms: 2000,
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "waiting-10000",
        what: "10,000 chats at a time, model at 2 s a call",
        clients: 10_000,
        model_ms: 2000,
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "waiting-long",
        what: "10,000 chats at a time, model at 30 s a call",
        clients: 10_000,
        model_ms: 30_000,
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "idle",
        what: "everything up, and nobody there",
        clients: 0,
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "history-100",
        what: "one chat at a time in a conversation of 100 messages",
        stored: Stored::Conversations(100),
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "history-10000",
        what: "one chat at a time in a conversation of 10,000 messages, full tables",
        stored: Stored::TablesAndConversations(10_000),
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "single-full",
        what: "one chat at a time, full tables",
        stored: Stored::Tables,
        compared_with_pgbench: false,
        ..PLAIN
    },
    Scenario {
        name: "load-64-full",
        what: "64 chats at a time, full tables",
        clients: 64,
        stored: Stored::Tables,
        compared_with_pgbench: false,
        ..PLAIN
    },
];

/// What a scenario came to.
pub(crate) enum Measured {
    /// Chats were answered.
    Chats(Box<Row>),
    /// Nothing was asked.
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
                format!("no scenario {name}; there are {}", names.join(", ")).into()
            })
    }

    /// How long the model thinks, each of a chat's two calls.
    pub(crate) const fn model(&self) -> Duration {
        Duration::from_millis(self.model_ms)
    }

    /// How long a chat takes if only the model takes time: it is called twice.
    pub(crate) fn ideal(&self) -> Duration {
        self.model() * 2
    }

    /// Offers the load, and counts what it took once it has come to its full height.
    pub(crate) async fn measure(
        &self,
        stack: &Stack,
        seconds: u64,
        ballast: Ballast,
        turns: Option<Arc<Mutex<()>>>,
    ) -> Result<Measured> {
        if self.stored.fills_tables() {
            fill::tables(stack, ballast).await?;
        }
        if self.clients == 0 {
            return self.measure_idle(stack, seconds).await.map(Measured::Idle);
        }
        // Long chats are measured over three of their lives, so that the last ones of the window count fairly.
        let window = Duration::from_secs(seconds).max(self.ideal() * 3);
        let mut load = Load::start(stack, self.clients, self.ideal(), self.stored.messages(), turns).await?;
        // Connections, caches, prepared statements; and every client in the middle of some chat.
        load.go_on(Duration::from_secs(3) + self.ideal() * 2).await?;
        stores::forget_statements(stack).await?;
        let before = (Usage::of(stack)?, Counters::read(stack).await?);
        load.begin();
        load.go_on(window).await?;
        let times = load.end();
        let after = (Usage::of(stack)?, Counters::read(stack).await?);
        let claims = Claims::read(stack, window.as_secs_f64()).await?;
        let statements = stores::top_statements(stack, times.len()).await?;
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
