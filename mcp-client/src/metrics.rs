//! What operators see of servers: a series a server, of which there are as many as their file names.

use errand_shared::service::metrics::{Counter, Family, Gauge, Histogram, Metrics, Span};

type Of<const N: usize> = [(&'static str, String); N];

/// The metrics of all servers; cheap to clone.
#[derive(Clone, Debug)]
pub struct McpMetrics {
    calls: Family<Of<2>, Counter>,
    duration: Family<Of<1>, Histogram, fn() -> Histogram>,
    connections: Family<Of<2>, Counter>,
    connected: Family<Of<1>, Gauge>,
    tools: Family<Of<1>, Gauge>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    /// The tool did what it was asked for.
    Succeeded,
    /// The tool, or its server, said no.
    Failed,
    /// Nothing came of it.
    Unavailable,
    /// Nobody knows.
    Unknown,
}

/// Those of one server, whose series are made at the start.
#[derive(Debug)]
pub(crate) struct ServerMetrics {
    succeeded: Counter,
    failed: Counter,
    unavailable: Counter,
    unknown: Counter,
    /// Calls that were made, until their answer or their loss.
    pub(crate) duration: Histogram,
    /// Connections that came about.
    pub(crate) opened: Counter,
    /// Those that did not.
    pub(crate) refused: Counter,
    /// Whether there is one.
    pub(crate) connected: Gauge,
    /// Tools on offer.
    pub(crate) tools: Gauge,
}

impl McpMetrics {
    /// Metrics of no server yet.
    pub fn new(registry: &mut Metrics) -> Self {
        let long: fn() -> Histogram = || Span::Long.histogram();
        Self {
            calls: registry.family("mcp_calls", "Calls of MCP servers' tools", Counter::default),
            duration: registry.family(
                "mcp_call_duration_seconds",
                "A call of an MCP server's tool, until its answer or its loss",
                long,
            ),
            connections: registry.family(
                "mcp_connections",
                "Tries to connect to MCP servers",
                Counter::default,
            ),
            connected: registry.family(
                "mcp_connected",
                "1 while an MCP server is connected",
                Gauge::default,
            ),
            tools: registry.family(
                "mcp_tools",
                "Tools that an MCP server has on offer",
                Gauge::default,
            ),
        }
    }

    /// Those of one server.
    pub(crate) fn of(&self, server: &str) -> ServerMetrics {
        let one = || [("server", server.to_owned())];
        let two = |outcome: &str| [("server", server.to_owned()), ("outcome", outcome.to_owned())];
        ServerMetrics {
            succeeded: self.calls.get_or_create_owned(&two("succeeded")),
            failed: self.calls.get_or_create_owned(&two("failed")),
            unavailable: self.calls.get_or_create_owned(&two("unavailable")),
            unknown: self.calls.get_or_create_owned(&two("unknown")),
            duration: self.duration.get_or_create_owned(&one()),
            opened: self.connections.get_or_create_owned(&two("opened")),
            refused: self.connections.get_or_create_owned(&two("refused")),
            connected: self.connected.get_or_create_owned(&one()),
            tools: self.tools.get_or_create_owned(&one()),
        }
    }
}

impl ServerMetrics {
    /// Counts a call.
    pub(crate) fn called(&self, went: Went) {
        let counter = match went {
            Went::Succeeded => &self.succeeded,
            Went::Failed => &self.failed,
            Went::Unavailable => &self.unavailable,
            Went::Unknown => &self.unknown,
        };
        counter.inc();
    }
}
