//! The agents of this installation, as one TOML file tells of them: `AGENTS_FILE`.
//!
//! The API must know their names, a worker the whole. Without a file there is one, the to-do agent.

mod file;
mod servers;

pub use servers::{ALL_TOOLS, CHOICE_SEPARATOR, Consent, McpServer, McpTransport};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::service::config::{Exit, Secret};

/// The agent that is always there; a file may describe it otherwise.
pub const BUILT_IN: &str = "todo";

/// Where the agents are described.
#[derive(Args, Clone, Debug)]
pub struct AgentSettings {
    /// File (TOML) that describes the agents; without one there is the to-do agent.
    #[arg(long, env = "AGENTS_FILE")]
    pub agents_file: Option<PathBuf>,
}

/// What becomes of the secrets that a file refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They are read from the environment, and must be there.
    Read,
    /// They are nobody's business here.
    Leave,
}

/// One agent, where it differs from what the settings say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentConfig {
    /// Who it is and how it works, in place of the to-do agent's own words.
    pub prompt: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f32>,
    /// Tokens of one answer, at most.
    pub max_tokens: Option<u32>,
    /// Its own OpenAI-compatible server, which is not sent the settings' key.
    pub base_url: Option<String>,
    /// The key of its server.
    pub api_key: Option<Secret>,
    /// Model calls of a run, at most.
    pub max_steps: Option<u16>,
    /// Tool calls of a run, at most.
    pub max_calls: Option<u16>,
    /// Tool calls of a step, at most.
    pub max_calls_per_step: Option<u16>,
    /// Earlier messages that the model is shown, at most.
    pub history_max_messages: Option<u16>,
    /// The same in tokens, by estimate.
    pub history_max_tokens: Option<u32>,
    /// The tools that it has, those of servers as `server.tool` or `server.*`; all if absent.
    pub tools: Option<Vec<String>>,
    /// Those whose calls need the user's consent, in place of the settings' list.
    pub approve: Option<Vec<String>>,
}

/// All agents by name. There is at least one.
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
    /// Reads and checks the file of the settings, if there is one. `tools` are those that there are.
    ///
    /// # Errors
    /// What is wrong, as one line with the file, the line in it and the rule.
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

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// The name of the one that answers where none was chosen.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// The MCP servers whose tools agents may have, in the file's order.
    pub fn servers(&self) -> &[McpServer] {
        &self.servers
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &AgentConfig)> {
        self.named.iter().map(|(name, agent)| (name.as_str(), agent))
    }
}

fn bad(path: &Path, what: &str) -> Exit {
    Exit::bad_setting("AGENTS_FILE", format!("{}: {what}", path.display()))
}
