//! The agents that this worker can run: each with its model client, limits, tools and instructions.

mod context_window;
mod mcp_tools;
mod models;

use std::{collections::HashMap, sync::Arc};

use errand_agent::{Instructions, Limits, PlannedCall, ToolSpec};
use errand_mcp_client::{Server, Servers};
use errand_shared::{
    domain::agents::{AgentConfig, Agents, FallbackModel, Secrets},
    service::{config::Exit, lifecycle::Lifecycle},
    signals::redis_client::RedisClient,
};
use errand_task_tools::prompt;

use crate::{
    metrics::WorkerMetrics,
    model::{ModelClient, ModelLimit},
    settings::{ModelSettings, WorkerSettings},
};
use mcp_tools::McpTools;
pub(crate) use models::Model;
use models::Models;

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) models: Models,
    pub(crate) limits: Limits,
    pub(crate) instructions: Arc<Instructions>,
    /// The names of its built-in tools.
    pub(crate) tools: Arc<[&'static str]>,
    pub(crate) mcp_tools: McpTools,
    /// The names of the built-in tools whose calls need approval.
    approve: Vec<String>,
    /// The MCP tools whose calls need approval. A server may require it for more of its tools.
    approve_mcp: McpTools,
}

/// All agents, by name.
#[derive(Debug)]
pub(crate) struct ReadyAgents {
    default: String,
    named: HashMap<String, Agent>,
    /// The limit of all agents that use the server of the settings.
    limit: Arc<ModelLimit>,
}

impl ReadyAgents {
    /// Builds the agents from the settings and the agents file. Their connections to MCP servers close when `ended` stops.
    ///
    /// # Errors
    /// An invalid setting or agents file.
    pub(crate) fn new(
        settings: &WorkerSettings,
        redis: &RedisClient,
        metrics: &WorkerMetrics,
        ended: &Lifecycle,
    ) -> Result<Self, Exit> {
        let tools: Vec<_> = errand_task_tools::specs().iter().map(|spec| spec.name).collect();
        let agents = Agents::load(&settings.agents, &tools, Secrets::Read)?;
        let required = &settings.approval.approval_required_tools;
        if required.iter().any(|name| !tools.contains(&name.as_str())) {
            let rule = format!("must name tools; there are {}", tools.join(", "));
            return Err(Exit::bad_setting("APPROVAL_REQUIRED_TOOLS", rule));
        }
        let servers = Servers::start(agents.servers(), ended, &metrics.mcp)?;
        let limit =
            |model: &ModelSettings| Arc::new(ModelLimit::new(model, redis.clone(), metrics.limit.clone()));
        let shared = limit(&settings.model);
        let named = agents
            .all()
            .map(|(name, config)| {
                let model = model_settings(&settings.model, config);
                let own_limit = if config.base_url.is_some() {
                    limit(&model)
                } else {
                    Arc::clone(&shared)
                };
                let fallbacks = config.fallbacks.iter().map(|fallback| {
                    let settings = fallback_settings(&model, fallback);
                    let limit = if fallback.base_url.is_some() {
                        limit(&settings)
                    } else {
                        Arc::clone(&own_limit)
                    };
                    (settings, limit)
                });
                let models = std::iter::once((model.clone(), Arc::clone(&own_limit))).chain(fallbacks);
                let agent = Agent::new(settings, config, models.collect(), metrics, &servers);
                let has_own_server = |fallback: &FallbackModel| fallback.base_url.is_some();
                let is_from_file = config.base_url.is_some()
                    || config.api_key.is_some()
                    || !config.headers.is_empty()
                    || config.fallbacks.iter().any(has_own_server);
                let agent = agent.map_err(|exit| {
                    if is_from_file {
                        name_agent(name, &exit)
                    } else {
                        exit
                    }
                })?;
                Ok((name.to_owned(), agent))
            })
            .collect::<Result<_, Exit>>()?;
        Ok(Self {
            default: agents.default_name().to_owned(),
            named,
            limit: shared,
        })
    }

    /// The agent with this name, or the default agent.
    pub(crate) fn find(&self, chosen: Option<&str>) -> Option<&Agent> {
        self.named.get(chosen.unwrap_or(&self.default))
    }

    /// Sets how many workers share the model limit while Redis is not reachable.
    pub(crate) fn shared_by(&self, workers: u32) {
        self.limit.shared_by(workers);
    }

    /// The largest history limits of all agents: messages, tokens.
    pub(crate) fn longest_history(&self) -> (usize, usize) {
        let limits = || self.named.values().map(|agent| &agent.limits);
        (
            limits()
                .map(|limits| limits.history_max_messages)
                .max()
                .unwrap_or(0),
            limits()
                .map(|limits| limits.history_max_tokens)
                .max()
                .unwrap_or(0),
        )
    }
}

impl Agent {
    /// Whether a call needs approval. A call with invalid arguments does not, because it will not be made.
    pub(crate) fn needs_approval(&self, call: &PlannedCall) -> bool {
        if call.arguments.is_err() {
            return false;
        }
        match self.server_of(call) {
            Some(server) => {
                self.approve_mcp.server_of(&call.name).is_some() || server.needs_approval(&call.name)
            }
            None => self.tools.contains(&call.name.as_str()) && self.approve.contains(&call.name),
        }
    }

    /// Whether the step of this call must be a deferred step.
    pub(crate) fn is_deferred(&self, call: &PlannedCall) -> bool {
        self.needs_approval(call) || self.server_of(call).is_some()
    }

    /// The MCP server of a call. `None` if the tool is built in or the arguments are invalid.
    pub(crate) fn server_of(&self, call: &PlannedCall) -> Option<&Arc<Server>> {
        if call.arguments.is_err() {
            return None;
        }
        self.mcp_tools.server_of(&call.name)
    }

    fn new(
        settings: &WorkerSettings,
        config: &AgentConfig,
        models: Vec<(ModelSettings, Arc<ModelLimit>)>,
        metrics: &WorkerMetrics,
        servers: &Servers,
    ) -> Result<Self, Exit> {
        let specs = errand_task_tools::specs().iter().filter(|spec| {
            let chosen = config.tools.as_ref();
            chosen.is_none_or(|chosen| chosen.iter().any(|name| name == spec.name))
        });
        let (tools, offers): (Vec<_>, Vec<_>) = specs
            .map(|spec| {
                let offer = ToolSpec {
                    name: spec.name.to_owned(),
                    description: spec.description.to_owned(),
                    parameters: spec.parameters.clone(),
                };
                (spec.name, offer)
            })
            .unzip();
        let approve = config
            .approve
            .clone()
            .unwrap_or_else(|| settings.approval.approval_required_tools.clone());
        let clients = models
            .into_iter()
            .map(|(model, limit)| ModelClient::new(model, offers.clone(), limit, metrics.model.clone()))
            .collect::<Result<Vec<_>, Exit>>()?;
        Ok(Self {
            models: Models::new(clients),
            limits: limits(settings, config),
            instructions: Arc::new(instructions(config)),
            tools: tools.into(),
            mcp_tools: McpTools::new(servers, config.tools.as_deref()),
            approve_mcp: McpTools::new(servers, Some(&approve)),
            approve,
        })
    }
}

/// Reports an invalid setting as part of the agents file, for an agent that has its own server or key there.
fn name_agent(name: &str, exit: &Exit) -> Exit {
    let what = exit.text.trim_end().trim_start_matches("error: ");
    Exit::bad_setting("AGENTS_FILE", format!("the server of agent {name}: {what}"))
}

/// The operator's instructions, or those of the to-do agent.
fn instructions(config: &AgentConfig) -> Instructions {
    match &config.prompt {
        Some(text) => Instructions::new(text.clone()),
        None => Instructions::new(prompt::ROLE).with_rules(prompt::RULES),
    }
}

fn limits(settings: &WorkerSettings, config: &AgentConfig) -> Limits {
    let run = &settings.run;
    let default = Limits::default();
    Limits {
        max_steps: config.max_steps.unwrap_or(run.run_max_steps),
        max_calls: config.max_calls.map_or(default.max_calls, usize::from),
        max_calls_per_step: config
            .max_calls_per_step
            .map_or(default.max_calls_per_step, usize::from),
        history_max_messages: config
            .history_max_messages
            .unwrap_or(run.history_max_messages)
            .into(),
        history_max_tokens: config.history_max_tokens.unwrap_or(run.history_max_tokens) as usize,
        ..default
    }
}

/// The settings of a fallback of an agent whose model has the settings `agent`.
fn fallback_settings(agent: &ModelSettings, fallback: &FallbackModel) -> ModelSettings {
    let mut model = agent.clone();
    model.openai_model.clone_from(&fallback.model);
    if fallback.base_url.is_some() {
        model.openai_base_url.clone_from(&fallback.base_url);
        // The key, the headers and the limits of the agent are for its own server.
        model.openai_api_key = None;
        model.headers.clear();
        model.model_requests_per_minute = 0;
        model.model_tokens_per_minute = 0;
    }
    if fallback.api_key.is_some() {
        model.openai_api_key.clone_from(&fallback.api_key);
    }
    if let Some(request) = &fallback.request {
        model.request = Arc::clone(request);
    }
    model
}

/// The settings of an agent's model: its own, and the program's where it has none.
pub(crate) fn model_settings(settings: &ModelSettings, config: &AgentConfig) -> ModelSettings {
    let mut model = settings.clone();
    if let Some(name) = &config.model {
        model.openai_model.clone_from(name);
    }
    if let Some(temperature) = config.temperature {
        model.openai_temperature = temperature;
    }
    if let Some(max_tokens) = config.max_tokens {
        model.openai_max_tokens = max_tokens;
    }
    model.request = Arc::clone(&config.request);
    if config.base_url.is_some() {
        model.openai_base_url.clone_from(&config.base_url);
        // The key and the limits of the settings are for the server of the settings.
        model.openai_api_key = None;
        model.model_requests_per_minute = 0;
        model.model_tokens_per_minute = 0;
    }
    model.headers.clone_from(&config.headers);
    if config.api_key.is_some() {
        model.openai_api_key.clone_from(&config.api_key);
    }
    model
}
