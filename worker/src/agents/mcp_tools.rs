//! Which of other people's tools an agent has.

use std::{collections::HashSet, sync::Arc};

use errand_agent::ToolSpec;
use errand_mcp_client::{Server, Servers, public_name};
use errand_shared::domain::agents::{ALL_TOOLS, CHOICE_SEPARATOR};
use futures::future::join_all;

/// The servers whose tools an agent has, and which of them.
#[derive(Debug)]
pub(crate) struct Others(Vec<Chosen>);

#[derive(Debug)]
struct Chosen {
    server: Arc<Server>,
    /// By their names for models; all if absent.
    tools: Option<HashSet<String>>,
}

impl Others {
    /// What an agent has chosen; all if it has chosen nothing.
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

    /// Whether there is nothing of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of it is on offer now. Waits for connections that are being made, all together no longer than the slowest
    /// may take, and goes without those that are not there.
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

    /// The server that has this tool, if the agent has it too.
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
