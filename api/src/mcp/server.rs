//! The MCP server of one user: describes itself, lists the tools and calls them.

use std::borrow::Cow;

use errand_shared::Uuid;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorCode, Implementation,
        ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
    },
    service::{NotificationContext, RequestContext},
};

use super::{perform, tool};
use crate::http::database::Database;

/// The supported protocol revisions. Since 2026-07-28 there is no handshake.
const VERSIONS: &[ProtocolVersion] = &[
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2026_07_28,
];
/// The supported methods. Wrong parameters and an unknown method are different errors.
const METHODS: [&str; 5] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/call",
    "tools/list",
];
const INSTRUCTIONS: &str = "The to-do list of the token's user. A task is identified by its number, which list_tasks returns. \
                            Numbers are not reused. Ask before deleting.";

/// The MCP server for one user.
#[derive(Clone, Debug)]
pub(super) struct TaskServer {
    database: Database,
    user_id: Uuid,
}

impl TaskServer {
    pub(super) const fn new(database: Database, user_id: Uuid) -> Self {
        Self { database, user_id }
    }
}

impl ServerHandler for TaskServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("errand", env!("CARGO_PKG_VERSION")).with_title("Errand"))
            .with_instructions(INSTRUCTIONS)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(VERSIONS)
    }

    /// All tools are on one page.
    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params("Unknown cursor", None));
        }
        let tools = tool::all();
        #[cfg(feature = "mcp-fixtures")]
        let tools = tools.into_iter().chain(super::fixtures::tools()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        #[cfg(feature = "mcp-fixtures")]
        if let Some(result) = super::fixtures::call(&request.name, &context).await {
            return Ok(result.into());
        }
        drop(context);
        let Some(spec) = errand_task_tools::find(&request.name) else {
            return Err(ErrorData::invalid_params("Unknown tool", None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let outcome = perform::call_tool(&self.database, self.user_id, spec, &arguments).await;
        Ok(tool::result(outcome).into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        errand_task_tools::find(name).map(tool::describe)
    }

    /// Handles a request that rmcp could not parse.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(if METHODS.contains(&request.method.as_str()) {
            ErrorData::invalid_params("The parameters are invalid for this method", None)
        } else {
            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "Unknown method", None)
        })
    }

    async fn on_initialized(&self, _context: NotificationContext<RoleServer>) {}
}
