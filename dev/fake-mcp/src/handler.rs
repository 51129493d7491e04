//! The server's side of the protocol: its tools, which take effect and then fail on request.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::{NotificationContext, RequestContext},
};
use serde_json::Value;

use crate::{McpEffect, McpFault, State, lock};

/// The metadata field in which a worker sends the idempotency key of a call.
const KEY: &str = "errand/idempotency-key";

#[derive(Clone, Debug)]
pub(crate) struct Handler(pub(crate) Arc<State>);

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        lock(&self.0.peers).push(context.peer);
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        *lock(&self.0.lists) += 1;
        Ok(ListToolsResult::with_all_items(lock(&self.0.tools).clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let key = context.meta.get(KEY).and_then(Value::as_str).unwrap_or_default();
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let effect = McpEffect {
            tool: request.name.to_string(),
            key: key.to_owned(),
            arguments: arguments.clone(),
        };
        self.0.effects.send_modify(|effects| effects.push(effect));
        let fault = lock(&self.0.fault).take();
        let text = match fault {
            None => format!("{} {}", request.name, arguments),
            Some(McpFault::Hang) => std::future::pending().await,
            Some(McpFault::Fail(why)) => {
                return Ok(CallToolResult::error(vec![ContentBlock::text(why)]).into());
            }
            Some(McpFault::Huge(bytes)) => "x".repeat(bytes),
            Some(McpFault::Refuse(why)) => return Err(ErrorData::invalid_params(why, None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}
