//! The configuration of external MCP servers in the agents file.
//!
//! It is validated without contacting the servers: whether a server runs and which tools it offers is found out later.

use std::time::Duration;

use crate::service::config::Secret;

/// Separates the server's name from the tool's name in an agent's list of tools: `server.tool`.
pub const CHOICE_SEPARATOR: char = '.';
/// Selects all tools of a server in an agent's list of tools: `server.*`.
pub const ALL_TOOLS: &str = "*";

/// An external MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct McpServer {
    /// The name, 1 to 24 characters of a-z, 0-9 and -.
    pub name: String,
    /// How to connect.
    pub transport: McpTransport,
    /// The tools to use, by the server's names. All if absent.
    pub tools: Option<Vec<String>>,
    /// Tools that may be called again after a crash, regardless of their annotations.
    pub idempotent: Vec<String>,
    /// Which tools need the user's approval.
    pub approve: ApprovalPolicy,
    /// The time limit of a call.
    pub timeout: Duration,
    /// The time limit of connecting and listing the tools.
    pub connect_timeout: Duration,
    /// Maximum number of concurrent calls per worker. Further calls wait.
    pub max_concurrent_calls: usize,
    /// Maximum size of a result's JSON, in bytes.
    pub max_result_bytes: usize,
    /// Maximum number of tools to use.
    pub max_tools: usize,
    /// Maximum size of a tool's argument schema, in bytes of JSON.
    pub max_schema_bytes: usize,
}

/// Which tools of a server need the user's approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalPolicy {
    /// None.
    Never,
    /// Tools whose annotations do not rule out destructive effects.
    Destructive,
    /// All.
    Always,
    /// These, by the server's names.
    Of(Vec<String>),
}

/// How to connect to an MCP server.
#[derive(Clone, Debug, PartialEq)]
pub enum McpTransport {
    /// Over Streamable HTTP.
    Http {
        /// The endpoint.
        url: String,
        /// Headers of each request.
        headers: Vec<(String, Secret)>,
        /// Whether private addresses are allowed.
        allow_private: bool,
    },
    /// A child process, over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its environment, in addition to `PATH` and `HOME`.
        env: Vec<(String, Secret)>,
    },
}

impl McpServer {
    /// Whether this tool of the server is used.
    pub fn takes(&self, tool: &str) -> bool {
        self.tools
            .as_ref()
            .is_none_or(|tools| tools.iter().any(|taken| taken == tool))
    }
}
