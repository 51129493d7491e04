//! The client with one server.

use std::{sync::Arc, time::Duration};

use errand_mcp_client::{McpMetrics, Outcome, Server, Servers};
use errand_shared::{
    domain::agents::{ApprovalPolicy, McpServer, McpTransport},
    service::{lifecycle::Lifecycle, metrics::Metrics},
};
use serde_json::{Map, Value};
use tokio::time::Instant;

pub(crate) struct Fixture {
    servers: Servers,
    lifecycle: Lifecycle,
    pub(crate) metrics: Metrics,
}

impl Fixture {
    /// A server named `s`.
    pub(crate) fn new(transport: McpTransport) -> Self {
        let config = McpServer {
            name: "s".to_owned(),
            transport,
            tools: None,
            idempotent: Vec::new(),
            approve: ApprovalPolicy::Never,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            max_concurrent_calls: 2,
            max_result_bytes: 2048,
            max_tools: 8,
            max_schema_bytes: 2048,
        };
        let lifecycle = Lifecycle::new();
        let mut metrics = Metrics::new("test", "0");
        let mcp = McpMetrics::new(&mut metrics);
        let servers = Servers::start(&[config], &lifecycle, &mcp).unwrap();
        Self {
            servers,
            lifecycle,
            metrics,
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.servers.all()[0]
    }

    /// The names of the tools, without the server's.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let listing = self.server().listing().await.unwrap();
        let names = listing.tools().iter().map(|tool| tool.name.replace("s__", ""));
        names.collect()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Outcome {
        let arguments = arguments.as_object().cloned().unwrap_or_else(Map::new);
        match self.server().prepare(&format!("s__{tool}"), &arguments).await {
            Ok(call) => call.make("key", Instant::now() + Duration::from_secs(30)).await,
            Err(outcome) => outcome,
        }
    }

    pub(crate) async fn shut_down(self) {
        self.lifecycle.stop();
        assert!(
            self.lifecycle.drained(Duration::from_secs(10)).await,
            "tasks are still running"
        );
    }
}
