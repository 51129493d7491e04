//! The tools that a server currently offers.

use std::sync::Arc;

use errand_shared::domain::agents::McpServer;

use crate::{
    text,
    tool::{InvalidTool, Tool},
};

/// Maximum length of a logged tool name in bytes.
const MAX_LOGGED_BYTES: usize = 100;
/// Maximum number of ignored tools that are logged individually.
const MAX_LOGGED_TOOLS: usize = 8;

/// The usable tools of a server, in the server's order.
#[derive(Debug, Default)]
pub struct Listing {
    tools: Vec<Arc<Tool>>,
}

impl Listing {
    /// Selects the valid tools that the operator has enabled. Logs the ones that it ignores.
    pub(crate) fn new(server: &McpServer, listed: &[rmcp::model::Tool]) -> Self {
        let mut listing = Self::default();
        let mut ignored = 0_usize;
        for tool in listed.iter().filter(|tool| server.takes(&tool.name)) {
            if let Err(error) = listing.add(server, tool) {
                ignored += 1;
                if ignored <= MAX_LOGGED_TOOLS {
                    let name = text::line(&tool.name, MAX_LOGGED_BYTES);
                    tracing::warn!(mcp.server = server.name, mcp.tool = name, %error, "ignoring MCP tool");
                }
            }
        }
        if ignored > MAX_LOGGED_TOOLS {
            tracing::warn!(mcp.server = server.name, ignored, "ignoring more MCP tools");
        }
        listing
    }

    fn add(&mut self, server: &McpServer, listed: &rmcp::model::Tool) -> Result<(), InvalidTool> {
        if self.tools.len() >= server.max_tools {
            return Err(InvalidTool::TooMany(server.max_tools));
        }
        let tool = Tool::new(server, listed)?;
        if self.find(&tool.name).is_some() {
            return Err(InvalidTool::NameTaken);
        }
        self.tools.push(Arc::new(tool));
        Ok(())
    }

    /// The tools.
    pub fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use errand_shared::domain::agents::{ApprovalPolicy, McpTransport};
    use rmcp::model::ToolAnnotations;
    use serde_json::{Value, json};

    use super::*;

    fn server() -> McpServer {
        McpServer {
            name: "files".to_owned(),
            transport: McpTransport::Stdio {
                command: String::new(),
                args: Vec::new(),
                env: Vec::new(),
            },
            tools: None,
            idempotent: vec!["write".to_owned()],
            approve: ApprovalPolicy::Never,
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            max_concurrent_calls: 1,
            max_result_bytes: 2048,
            max_tools: 3,
            max_schema_bytes: 2048,
        }
    }

    fn tool(name: &str, schema: Value) -> rmcp::model::Tool {
        let Value::Object(schema) = schema else { panic!() };
        rmcp::model::Tool::new(name.to_owned(), "Does\0 it.", Arc::new(schema))
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.tools().iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn ignores_invalid_and_excess_tools() {
        let listed = [
            tool("bad", json!({"type": "array"})),
            tool("read", json!({"type": "object"})),
            tool("read", json!({"type": "object"})),
            tool("write", json!({})),
            tool("a.b", json!({})),
            tool("more", json!({})),
        ];
        let listing = Listing::new(&server(), &listed);
        let names = names(&listing);
        assert_eq!(names[..2], ["files__read", "files__write"]);
        assert!(names[2].starts_with("files__a_b_"), "{names:?}");
        assert_eq!(names.len(), 3);
        assert_eq!(listing.tools()[0].description, "Does it.");
    }

    #[test]
    fn changed_names_lead_back_to_their_tools() {
        let long = ["x".repeat(100), "x".repeat(101)];
        let names = ["a.b", "a/b", "a_b", &long[0], &long[1]];
        let server = McpServer {
            max_tools: names.len(),
            ..server()
        };
        let listed = names.map(|name| tool(name, json!({})));
        let listing = Listing::new(&server, &listed);
        for (name, listed) in names.iter().zip(listing.tools()) {
            assert_eq!(listed.server_name, *name);
            let found = listing.find(&listed.name).unwrap();
            assert_eq!(found.server_name, *name, "{}", listed.name);
        }
        assert_eq!(listing.tools().len(), names.len());
    }

    #[test]
    fn includes_only_enabled_tools() {
        let server = McpServer {
            tools: Some(vec!["write".to_owned()]),
            ..server()
        };
        let listed = [tool("read", json!({})), tool("write", json!({}))];
        assert_eq!(names(&Listing::new(&server, &listed)), ["files__write"]);
    }

    #[test]
    fn tool_or_operator_declares_a_call_repeatable() {
        let annotated = |annotations| tool("a", json!({})).with_annotations(annotations);
        let cases = [
            (tool("a", json!({})), false),
            (tool("write", json!({})), true),
            (annotated(ToolAnnotations::new().read_only(true)), true),
            (annotated(ToolAnnotations::new().idempotent(true)), true),
            (annotated(ToolAnnotations::new().destructive(false)), false),
        ];
        for (listed, expected) in cases {
            let listing = Listing::new(&server(), std::slice::from_ref(&listed));
            assert_eq!(listing.tools()[0].is_repeatable(), expected, "{listed:?}");
        }
    }
}
