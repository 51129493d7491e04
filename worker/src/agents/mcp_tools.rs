//! The MCP tools that an agent has.

use std::{collections::HashSet, sync::Arc};

use errand_agent::ToolSpec;
use errand_mcp_client::{Server, Servers, public_name};
use errand_shared::domain::agents::{ALL_TOOLS, CHOICE_SEPARATOR};
use futures::future::join_all;

/// MCP servers, each with the tools that the agent may use.
#[derive(Debug)]
pub(crate) struct McpTools(Vec<Chosen>);

#[derive(Debug)]
struct Chosen {
    server: Arc<Server>,
    /// The names as the model sees them. `None` means all.
    tools: Option<HashSet<String>>,
}

impl McpTools {
    /// The tools named in `chosen`, or all tools if that is `None`.
    pub(crate) fn new(servers: &Servers, chosen: Option<&[String]>) -> Self {
        let of_server = |server: &Arc<Server>| {
            let Some(chosen) = chosen else {
                return Some(None);
            };
            let names: Vec<_> = chosen
                .iter()
                .filter_map(|name| name.strip_prefix(server.name())?.strip_prefix(CHOICE_SEPARATOR))
                .collect();
            if names.contains(&ALL_TOOLS) {
                return Some(None);
            }
            let public = names.iter().map(|name| public_name(server.name(), name));
            (!names.is_empty()).then(|| Some(public.collect()))
        };
        let chosen = servers.all().iter().filter_map(|server| {
            Some(Chosen {
                tools: of_server(server)?,
                server: Arc::clone(server),
            })
        });
        Self(chosen.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The specifications of the tools that are available now. Waits for all connections in progress at the same time, and leaves out servers
    /// that can't be reached.
    pub(crate) async fn offers(&self) -> Vec<ToolSpec> {
        let listings = join_all(self.0.iter().map(|chosen| chosen.server.listing())).await;
        let mut offers = Vec::new();
        for (chosen, listing) in self.0.iter().zip(listings) {
            let listed = listing.iter().flat_map(|listing| listing.tools());
            offers.extend(listed.filter(|tool| chosen.has(&tool.name)).map(|tool| ToolSpec {
                name: tool.name.clone(),
                description: tool.description.clone(),
                parameters: tool.parameters().clone(),
            }));
        }
        offers
    }

    /// The server of a tool that the agent may use.
    pub(crate) fn server_of(&self, tool: &str) -> Option<&Arc<Server>> {
        let chosen = self
            .0
            .iter()
            .find(|chosen| errand_mcp_client::server_of(tool) == Some(chosen.server.name()))?;
        chosen.has(tool).then_some(&chosen.server)
    }
}

impl Chosen {
    fn has(&self, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(tool))
    }
}
