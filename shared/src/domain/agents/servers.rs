//! Other people's MCP servers, as the file of agents tells of them.
//!
//! What is here is read and checked; that a server is there, and what it has, is known to no one before it is asked.

use std::time::Duration;

use crate::service::config::Secret;

/// What stands between a server's name and a tool's where an agent chooses its tools: `server.tool`.
pub const CHOICE_SEPARATOR: char = '.';
/// In place of a tool's name there: all that the server has.
pub const ALL_TOOLS: &str = "*";

/// One server of tools.
#[derive(Clone, Debug, PartialEq)]
pub struct McpServer {
    /// Its name here: 1 to 24 characters out of a-z, 0-9 and -.
    pub name: String,
    /// How it is reached.
    pub transport: McpTransport,
    /// The tools that are taken from it, by its own names; all if absent.
    pub tools: Option<Vec<String>>,
    /// Tools that may be called again after a crash, whatever the server says of them.
    pub idempotent: Vec<String>,
    /// Which of them are called only with the user's consent.
    pub approve: Consent,
    /// How long a call may take.
    pub timeout: Duration,
    /// How long connecting and listing may take together.
    pub connect_timeout: Duration,
    /// Calls of one worker at once; more wait.
    pub max_concurrent_calls: usize,
    /// Bytes of JSON that a result may have.
    pub max_result_bytes: usize,
    /// Tools that are taken from it, at most.
    pub max_tools: usize,
    /// Bytes of JSON that the schema of a tool's arguments may have.
    pub max_schema_bytes: usize,
}

/// For which tools of a server the user is asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// For none.
    Never,
    /// For those that may destroy something, by their own word: which is all that do not say otherwise.
    Destructive,
    /// For all.
    Always,
    /// For these, by the server's own names.
    Of(Vec<String>),
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum McpTransport {
    /// Over Streamable HTTP.
    Http {
        /// Where.
        url: String,
        /// What is sent along with each request.
        headers: Vec<(String, Secret)>,
        /// Whether it may have an address that is not a public one.
        allow_private: bool,
    },
    /// As a child process, over its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Its whole environment, but for `PATH` and `HOME`.
        env: Vec<(String, Secret)>,
    },
}

impl McpServer {
    /// Whether this one of its tools is taken.
    pub fn takes(&self, tool: &str) -> bool {
        self.tools
            .as_ref()
            .is_none_or(|tools| tools.iter().any(|taken| taken == tool))
    }
}
