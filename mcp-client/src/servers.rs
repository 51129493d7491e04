//! All MCP servers of a worker.

use std::sync::Arc;

use errand_shared::{
    domain::agents::McpServer,
    service::{config::Exit, lifecycle::Lifecycle},
};

use crate::{metrics::McpMetrics, name, server::Server};

/// The MCP servers in the agents file.
#[derive(Clone, Debug, Default)]
pub struct Servers(Vec<Arc<Server>>);

impl Servers {
    /// Prepares the servers. Each connects on first use and stops with the lifecycle.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn start(configs: &[McpServer], lifecycle: &Lifecycle, metrics: &McpMetrics) -> Result<Self, Exit> {
        let started = configs
            .iter()
            .map(|config| Server::start(config, lifecycle, metrics));
        Ok(Self(started.collect::<Result<_, _>>()?))
    }

    /// The server to which a tool with this name belongs, if any.
    pub fn for_tool(&self, tool: &str) -> Option<&Arc<Server>> {
        let name = name::server_of(tool)?;
        self.0.iter().find(|server| server.name() == name)
    }

    /// All servers, in the order of the file.
    pub fn all(&self) -> &[Arc<Server>] {
        &self.0
    }
}
