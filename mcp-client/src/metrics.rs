//! Metrics of MCP servers. The label `server` has one value per configured server.

use errand_shared::service::metrics::{Counter, Family, Gauge, Histogram, Metrics, Span};

type Labels<const N: usize> = [(&'static str, String); N];

/// The metrics of all servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct McpMetrics {
    calls: Family<Labels<2>, Counter>,
    duration: Family<Labels<1>, Histogram, fn() -> Histogram>,
    connections: Family<Labels<2>, Counter>,
    connected: Family<Labels<1>, Gauge>,
    tools: Family<Labels<1>, Gauge>,
}

/// The result of a call, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallResult {
    Succeeded,
    /// The tool or its server reported a failure.
    Failed,
    /// The call was not made.
    Unavailable,
    /// It is unknown whether the call took effect.
    Unknown,
}

/// The metrics of one server. All series exist from the start.
#[derive(Debug)]
pub(crate) struct ServerMetrics {
    succeeded: Counter,
    failed: Counter,
    unavailable: Counter,
    unknown: Counter,
    pub(crate) duration: Histogram,
    /// Successful attempts to connect.
    pub(crate) connects: Counter,
    /// Failed attempts to connect.
    pub(crate) connect_failures: Counter,
    /// 1 while connected, otherwise 0.
    pub(crate) connected: Gauge,
    /// Number of available tools.
    pub(crate) tools: Gauge,
}

impl McpMetrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Metrics) -> Self {
        let long: fn() -> Histogram = || Span::Long.histogram();
        Self {
            calls: registry.family("mcp_calls", "Calls of MCP tools", Counter::default),
            duration: registry.family(
                "mcp_call_duration_seconds",
                "Duration of calls of MCP tools",
                long,
            ),
            connections: registry.family(
                "mcp_connections",
                "Attempts to connect to MCP servers",
                Counter::default,
            ),
            connected: registry.family(
                "mcp_connected",
                "1 while an MCP server is connected",
                Gauge::default,
            ),
            tools: registry.family(
                "mcp_tools",
                "Number of available tools of an MCP server",
                Gauge::default,
            ),
        }
    }

    /// The metrics of one server.
    pub(crate) fn for_server(&self, server: &str) -> ServerMetrics {
        let one = || [("server", server.to_owned())];
        let two = |outcome: &str| [("server", server.to_owned()), ("outcome", outcome.to_owned())];
        ServerMetrics {
            succeeded: self.calls.get_or_create_owned(&two("succeeded")),
            failed: self.calls.get_or_create_owned(&two("failed")),
            unavailable: self.calls.get_or_create_owned(&two("unavailable")),
            unknown: self.calls.get_or_create_owned(&two("unknown")),
            duration: self.duration.get_or_create_owned(&one()),
            connects: self.connections.get_or_create_owned(&two("opened")),
            connect_failures: self.connections.get_or_create_owned(&two("refused")),
            connected: self.connected.get_or_create_owned(&one()),
            tools: self.tools.get_or_create_owned(&one()),
        }
    }
}

impl ServerMetrics {
    /// Counts a call.
    pub(crate) fn called(&self, result: CallResult) {
        let counter = match result {
            CallResult::Succeeded => &self.succeeded,
            CallResult::Failed => &self.failed,
            CallResult::Unavailable => &self.unavailable,
            CallResult::Unknown => &self.unknown,
        };
        counter.inc();
    }
}
