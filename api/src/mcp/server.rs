//! What the MCP server says of itself, lists and calls, for one user.

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
use crate::state::App;

/// The revisions of the protocol that are spoken; from 2026-07-28 on without a handshake.
const VERSIONS: &[ProtocolVersion] = &[
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2026_07_28,
];
/// The methods that are served, so that one with the wrong parameters is not called unknown.
const METHODS: [&str; 5] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/call",
    "tools/list",
];
const INSTRUCTIONS: &str = "The to-do list of the user whose token this is. A task is named by its number, which list_tasks \
                            shows; numbers are never used again. Ask before deleting.";

/// The MCP server, as one user sees it.
#[derive(Clone, Debug)]
pub(super) struct TaskServer {
    app: App,
    user_id: Uuid,
}

impl TaskServer {
    /// For the user that the request's token names.
    pub(super) const fn new(app: App, user_id: Uuid) -> Self {
        Self { app, user_id }
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

    /// All tools are on the first page.
    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if request.is_some_and(|request| request.cursor.is_some()) {
            return Err(ErrorData::invalid_params(
                "No list of ours gave this cursor",
                None,
            ));
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
            return Err(ErrorData::invalid_params("There is no tool of this name", None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let outcome = perform::perform(&self.app, self.user_id, spec, &arguments).await;
        Ok(tool::result(outcome).into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        errand_task_tools::find(name).map(tool::described)
    }

    /// What rmcp could not read as one of the methods that it knows.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(if METHODS.contains(&request.method.as_str()) {
            ErrorData::invalid_params("The parameters do not fit the method", None)
        } else {
            ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "There is no such method here", None)
        })
    }

    async fn on_initialized(&self, _context: NotificationContext<RoleServer>) {}
}
