//! One tool of an MCP server.

use std::time::Duration;

use errand_shared::domain::agents::{ApprovalPolicy, McpServer};
use serde_json::Value;
use thiserror::Error;

use crate::{
    name,
    schema::{InvalidSchema, Schema},
    text,
};

/// Maximum length of a description in bytes.
const MAX_DESCRIPTION_BYTES: usize = 2048;

/// A tool of an MCP server.
#[derive(Debug)]
pub struct Tool {
    /// Name for models, such as `server__tool`.
    pub name: String,
    /// Description for models.
    pub description: String,
    /// Name on the server.
    pub(crate) server_name: String,
    /// Schema of the arguments.
    pub(crate) schema: Schema,
    /// The server declares that the tool changes nothing.
    pub(crate) read_only: bool,
    /// The server or the operator declares that repeating a call has no further effect.
    pub(crate) idempotent: bool,
    /// Calls need the user's approval.
    pub(crate) needs_approval: bool,
    /// Timeout of a call.
    pub(crate) timeout: Duration,
}

/// The reason why a tool is ignored.
#[derive(Debug, Error)]
pub(crate) enum InvalidTool {
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
    #[error("another tool has the same name")]
    NameTaken,
    #[error("the limit of {0} tools is reached")]
    TooMany(usize),
}

impl Tool {
    pub(crate) fn new(server: &McpServer, listed: &rmcp::model::Tool) -> Result<Self, InvalidTool> {
        let schema = Schema::new(&listed.input_schema, server.max_schema_bytes)?;
        let annotations = listed.annotations.clone().unwrap_or_default();
        let read_only = annotations.read_only_hint == Some(true);
        let is_destructive = !read_only && annotations.is_destructive();
        let description = listed
            .description
            .as_deref()
            .or(listed.title.as_deref())
            .unwrap_or_default();
        Ok(Self {
            name: name::public(&server.name, &listed.name),
            description: text::clean(description, MAX_DESCRIPTION_BYTES),
            server_name: listed.name.to_string(),
            schema,
            read_only,
            idempotent: annotations.is_idempotent()
                || server.idempotent.iter().any(|name| *name == listed.name),
            needs_approval: match &server.approve {
                ApprovalPolicy::Never => false,
                ApprovalPolicy::Destructive => is_destructive,
                ApprovalPolicy::Always => true,
                ApprovalPolicy::Of(tools) => tools.iter().any(|name| *name == listed.name),
            },
            timeout: server.timeout,
        })
    }

    /// JSON Schema of the arguments.
    pub fn parameters(&self) -> &Value {
        &self.schema.json
    }

    /// Whether a call may be repeated if its outcome is unknown.
    pub(crate) const fn is_repeatable(&self) -> bool {
        self.read_only || self.idempotent
    }
}
