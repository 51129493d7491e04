//! All servers of a worker.

use std::sync::Arc;

use errand_shared::{
    domain::agents::McpServer,
    service::{config::Exit, lifecycle::Lifecycle},
};

use crate::{metrics::McpMetrics, name, server::Server};

/// The servers that the file of agents names.
#[derive(Clone, Debug, Default)]
pub struct Servers(Vec<Arc<Server>>);

impl Servers {
    /// Makes them ready; none is connected to before somebody wants it. All end with the lifecycle.
    ///
    /// # Errors
    /// A bad setting.
    pub fn start(configs: &[McpServer], lifecycle: &Lifecycle, metrics: &McpMetrics) -> Result<Self, Exit> {
        let started = configs
            .iter()
            .map(|config| Server::start(config, lifecycle, metrics));
        Ok(Self(started.collect::<Result<_, _>>()?))
    }

    /// The one that has a tool of this name, if any has.
    pub fn of_tool(&self, tool: &str) -> Option<&Arc<Server>> {
        let name = name::server_of(tool)?;
        self.0.iter().find(|server| server.name() == name)
    }

    /// All of them, in the file's order.
    pub fn all(&self) -> &[Arc<Server>] {
        &self.0
    }
}
