//! One tool as it is offered, and what it says of itself.

use std::time::Duration;

use errand_shared::domain::agents::{Consent, McpServer};
use serde_json::Value;
use thiserror::Error;

use crate::{
    name,
    schema::{BadSchema, Schema},
    text,
};

/// Bytes of a description.
const DESCRIPTION_BYTES: usize = 2048;

/// A tool of somebody else's.
#[derive(Debug)]
pub struct Tool {
    /// Its name for models.
    pub name: String,
    /// What it does, for models.
    pub description: String,
    /// Its name on its server.
    pub(crate) own_name: String,
    /// Of its arguments.
    pub(crate) schema: Schema,
    /// It changes nothing, it says.
    pub(crate) read_only: bool,
    /// Calling it twice changes no more than once, it or the operator says.
    pub(crate) idempotent: bool,
    /// It is called only with the user's consent.
    pub(crate) needs_consent: bool,
    /// How long a call may take.
    pub(crate) timeout: Duration,
}

/// Why a tool is not offered.
#[derive(Debug, Error)]
pub(crate) enum BadTool {
    /// For its schema.
    #[error(transparent)]
    Schema(#[from] BadSchema),
    /// Another tool has come to the same name.
    #[error("another tool comes to the same name")]
    NameTaken,
    /// There are enough.
    #[error("there are {0} already")]
    TooMany(usize),
}

impl Tool {
    /// A tool as its server lists it.
    pub(crate) fn new(server: &McpServer, listed: &rmcp::model::Tool) -> Result<Self, BadTool> {
        let schema = Schema::new(&listed.input_schema, server.max_schema_bytes)?;
        let said = listed.annotations.clone().unwrap_or_default();
        let read_only = said.read_only_hint == Some(true);
        let is_destructive = !read_only && said.is_destructive();
        let written = listed
            .description
            .as_deref()
            .or(listed.title.as_deref())
            .unwrap_or_default();
        Ok(Self {
            name: name::public(&server.name, &listed.name),
            description: text::clean(written, DESCRIPTION_BYTES),
            own_name: listed.name.to_string(),
            schema,
            read_only,
            idempotent: said.is_idempotent() || server.idempotent.iter().any(|name| *name == listed.name),
            needs_consent: match &server.approve {
                Consent::Never => false,
                Consent::Destructive => is_destructive,
                Consent::Always => true,
                Consent::Of(tools) => tools.iter().any(|name| *name == listed.name),
            },
            timeout: server.timeout,
        })
    }

    /// JSON Schema of its arguments.
    pub fn parameters(&self) -> &Value {
        &self.schema.shown
    }

    /// Whether a call may be made again when nobody knows what came of it.
    pub(crate) const fn is_repeatable(&self) -> bool {
        self.read_only || self.idempotent
    }
}
