//! The agents of this installation, defined in one TOML file (`AGENTS_FILE`).
//!
//! The API needs only their names, a worker all of it. Without a file, the to-do agent is the only one.

mod file;
mod servers;

pub use servers::{ALL_TOOLS, ApprovalPolicy, CHOICE_SEPARATOR, McpServer, McpTransport};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use serde_json::{Map, Value};

use crate::service::config::{Exit, Secret};

/// The agent that always exists. The file can change it.
pub const BUILT_IN: &str = "todo";

/// Settings of the agents.
#[derive(Args, Clone, Debug)]
pub struct AgentSettings {
    /// TOML file that defines the agents and MCP servers. Without it, the to-do agent is the only one.
    #[arg(long, env = "AGENTS_FILE")]
    pub agents_file: Option<PathBuf>,
}

/// Whether to read the secrets that the file refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Read them from the environment. A missing one is an error.
    Read,
    /// Ignore them: this program does not need them.
    Leave,
}

/// The configuration of an agent. An absent member means that the program's setting applies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentConfig {
    /// The system prompt, in place of the to-do agent's.
    pub prompt: Option<String>,
    /// The name of the model.
    pub model: Option<String>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f32>,
    /// Maximum number of tokens per answer.
    pub max_tokens: Option<u32>,
    /// Its own OpenAI-compatible server. `OPENAI_API_KEY` is not sent to it.
    pub base_url: Option<String>,
    /// The API key for `base_url`.
    pub api_key: Option<Secret>,
    /// Additional headers of each model request.
    pub headers: Vec<(String, Secret)>,
    /// Members to merge into the body of each model request, `reasoning_effort` included.
    pub request: Arc<Map<String, Value>>,
    /// The models that answer, in this order, while the agent's model does not.
    pub fallbacks: Vec<FallbackModel>,
    /// Maximum number of model calls per run.
    pub max_steps: Option<u16>,
    /// Maximum number of tool calls per run.
    pub max_calls: Option<u16>,
    /// Maximum number of tool calls per step.
    pub max_calls_per_step: Option<u16>,
    /// Maximum number of earlier messages sent to the model.
    pub history_max_messages: Option<u16>,
    /// Maximum estimated number of tokens of those messages.
    pub history_max_tokens: Option<u32>,
    /// The tools it can use. MCP tools are written as `server.tool` or `server.*`. All tools if absent.
    pub tools: Option<Vec<String>>,
    /// The tools that need approval, in place of `APPROVAL_REQUIRED_TOOLS`.
    pub approve: Option<Vec<String>>,
}

/// A model that answers while the models before it do not. An absent member means that the one of the agent applies.
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackModel {
    /// The name of the model.
    pub model: String,
    /// Its own OpenAI-compatible server. The API key of the agent's server is not sent to it.
    pub base_url: Option<String>,
    /// The API key for its server.
    pub api_key: Option<Secret>,
    /// Members to merge into the body of each request, in place of the agent's.
    pub request: Option<Arc<Map<String, Value>>>,
}

/// All agents by name. Contains at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Agents {
    default: String,
    named: BTreeMap<String, AgentConfig>,
    servers: Vec<McpServer>,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            default: BUILT_IN.to_owned(),
            named: BTreeMap::from([(BUILT_IN.to_owned(), AgentConfig::default())]),
            servers: Vec::new(),
        }
    }
}

impl Agents {
    /// Reads and validates the agents file, if one is configured. `tools` are the names of the built-in tools.
    ///
    /// # Errors
    /// One line with the file, the line number and the broken rule.
    pub fn load(settings: &AgentSettings, tools: &[&str], secrets: Secrets) -> Result<Self, Exit> {
        let Some(path) = &settings.agents_file else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path).map_err(|error| bad(path, &error.kind().to_string()))?;
        file::read(&text, tools, secrets).map_err(|fault| {
            let line = fault.line(&text);
            bad(path, &format!("line {line}: {}", fault.what))
        })
    }

    /// Whether an agent has this name.
    pub fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// The name of the agent for conversations that chose none.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// The MCP servers, in the order of the file.
    pub fn servers(&self) -> &[McpServer] {
        &self.servers
    }

    /// All agents, ordered by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &AgentConfig)> {
        self.named.iter().map(|(name, agent)| (name.as_str(), agent))
    }
}

fn bad(path: &Path, what: &str) -> Exit {
    Exit::bad_setting("AGENTS_FILE", format!("{}: {what}", path.display()))
}
