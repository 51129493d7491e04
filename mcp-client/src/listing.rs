//! What a server has on offer at the moment.

use std::sync::Arc;

use errand_shared::domain::agents::McpServer;

use crate::{
    text,
    tool::{BadTool, Tool},
};

/// Bytes of a tool's name in the log.
const LOGGED_BYTES: usize = 100;
/// Tools that are left out are named so often at most.
const LOGGED_TOOLS: usize = 8;

/// The tools of a server that may be offered, in its own order.
#[derive(Debug, Default)]
pub struct Listing {
    tools: Vec<Arc<Tool>>,
}

impl Listing {
    /// Of what a server lists that which the operator wants and which is sound. What is left out is logged.
    pub(crate) fn new(server: &McpServer, listed: &[rmcp::model::Tool]) -> Self {
        let mut listing = Self::default();
        let mut left_out = 0_usize;
        for tool in listed.iter().filter(|tool| server.takes(&tool.name)) {
            if let Err(why) = listing.add(server, tool) {
                left_out += 1;
                if left_out <= LOGGED_TOOLS {
                    let name = text::line(&tool.name, LOGGED_BYTES);
                    tracing::warn!(mcp.server = server.name, mcp.tool = name, %why, "a tool is left out");
                }
            }
        }
        if left_out > LOGGED_TOOLS {
            tracing::warn!(mcp.server = server.name, left_out, "more tools are left out");
        }
        listing
    }

    fn add(&mut self, server: &McpServer, listed: &rmcp::model::Tool) -> Result<(), BadTool> {
        if self.tools.len() >= server.max_tools {
            return Err(BadTool::TooMany(server.max_tools));
        }
        let tool = Tool::new(server, listed)?;
        if self.find(&tool.name).is_some() {
            return Err(BadTool::NameTaken);
        }
        self.tools.push(Arc::new(tool));
        Ok(())
    }

    /// All of them.
    pub fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }

    /// The one of that name.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use errand_shared::domain::agents::{Consent, McpTransport};
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
            approve: Consent::Never,
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
    fn what_is_unsound_or_too_many_is_left_out() {
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
    fn only_what_the_operator_names_is_taken() {
        let server = McpServer {
            tools: Some(vec!["write".to_owned()]),
            ..server()
        };
        let listed = [tool("read", json!({})), tool("write", json!({}))];
        assert_eq!(names(&Listing::new(&server, &listed)), ["files__write"]);
    }

    #[test]
    fn whether_a_call_may_be_made_again_is_the_tools_word_or_the_operators() {
        let said = |annotations| tool("a", json!({})).with_annotations(annotations);
        let cases = [
            (tool("a", json!({})), false),
            (tool("write", json!({})), true),
            (said(ToolAnnotations::new().read_only(true)), true),
            (said(ToolAnnotations::new().idempotent(true)), true),
            (said(ToolAnnotations::new().destructive(false)), false),
        ];
        for (listed, expected) in cases {
            let listing = Listing::new(&server(), std::slice::from_ref(&listed));
            assert_eq!(listing.tools()[0].is_repeatable(), expected, "{listed:?}");
        }
    }
}
