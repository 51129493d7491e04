//! What is measured: how many chats at once, and how long the model thinks.

use std::time::Duration;

use crate::{
    Result,
    load::{self, Load},
    procfs::Usage,
    report::Row,
    stack::Stack,
    stores::Counters,
};

/// One thing to measure.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What it is, in a sentence.
    pub(crate) what: &'static str,
    /// Chats at once.
    pub(crate) clients: usize,
    /// How long the model thinks, each of a chat's two calls.
    pub(crate) model: Duration,
    /// Whether `pgbench` is to run beside it.
    pub(crate) compared_with_pgbench: bool,
}

const SCENARIOS: [(&str, &str, usize, u64, bool); 6] = [
    ("single", "one chat at a time, model at 0 ms", 1, 0, false),
    (
        "single-50",
        "one chat at a time, model at 50 ms a call",
        1,
        50,
        false,
    ),
    ("load-64", "64 chats at a time, model at 0 ms", 64, 0, true),
    (
        "waiting-4000",
        "4,000 chats at a time, model at 2 s a call",
        4000,
        2000,
        false,
    ),
    (
        "waiting-10000",
        "10,000 chats at a time, model at 2 s a call",
        10_000,
        2000,
        false,
    ),
    (
        "waiting-long",
        "10,000 chats at a time, model at 30 s a call",
        10_000,
        30_000,
        false,
    ),
];

impl Scenario {
    /// The scenario of this name.
    pub(crate) fn named(name: &str) -> Result<Self> {
        SCENARIOS
            .iter()
            .find(|scenario| scenario.0 == name)
            .map(|&(name, what, clients, model, compared_with_pgbench)| Self {
                name,
                what,
                clients,
                model: Duration::from_millis(model),
                compared_with_pgbench,
            })
            .ok_or_else(|| {
                let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.0).collect();
                format!("no scenario {name}; there are {}", names.join(", ")).into()
            })
    }

    /// How long a chat takes if only the model takes time: it is called twice.
    pub(crate) fn ideal(&self) -> Duration {
        self.model * 2
    }

    /// Offers the load, and counts what it took once it has come to its full height.
    pub(crate) async fn measure(&self, stack: &Stack, seconds: u64) -> Result<Row> {
        // Long chats are measured over three of their lives, so that the last ones of the window count fairly.
        let window = Duration::from_secs(seconds).max(self.ideal() * 3);
        let load = Load::start(stack, self.clients, self.ideal()).await?;
        // Connections, caches, prepared statements; and every client in the middle of some chat.
        tokio::time::sleep(Duration::from_secs(3) + self.ideal() * 2).await;
        let before = (Usage::of(stack)?, Counters::read(stack).await?);
        load.begin();
        tokio::time::sleep(window).await;
        let times = load.end();
        let after = (Usage::of(stack)?, Counters::read(stack).await?);
        load.stop().await?;
        let summary = load::summary(times, window, self.ideal())?;
        Ok(Row::new(self, summary, after.0 - before.0, after.1 - before.1))
    }
}
