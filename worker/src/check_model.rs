//! `errand-worker check-model`: sends the configured model a question with tools, as a run does, and reports what works.
//!
//! It uses the client of the runs and the state machine of the agent, so a check that succeeds proves that a run would. The tools
//! are offered, but their calls are not executed. It needs neither Postgres nor Redis.
//!
//! It asks at most [`MAX_QUESTIONS`] questions and retries nothing. Only the rejection of a request parameter leads to
//! another request, without that parameter.

mod advice;
mod observer;
mod report;

pub use report::CheckReport;

use std::{sync::Arc, time::Duration};

use clap::Parser;
use errand_agent::{Action, AgentRun, Instructions, Limits, Message, ModelAnswer, Prompt, ToolSpec};
use errand_shared::{
    domain::agents::{AgentSettings, Agents, Secrets},
    service::{config::Exit, metrics::Metrics},
};
use errand_task_tools::prompt;
use tokio::time::Instant;

use self::{advice::Names, observer::Observer, report::Findings};
use crate::{
    agents,
    model::{ErrorKind, LimitMetrics, ModelClient, ModelError, ModelLimit, ModelMetrics},
    settings::ModelSettings,
};

/// The default address of the model server.
const OPENAI: &str = "https://api.openai.com/v1";
/// The maximum number of questions: one that leads to no tool call, then one that does, then two with the results of tools.
const MAX_QUESTIONS: usize = 4;
/// The time limit for the whole check. Local servers load a model with the first request.
const CHECK_TIMEOUT: Duration = Duration::from_mins(3);
/// It leads to several calls at once, also with the demo model.
const QUESTION: &str = "Add these tasks: buy milk, water the plants, call the dentist";

/// Check the model server: sends a question with tools, as a run does, and reports what works. Needs neither Postgres nor Redis.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "errand-worker",
    bin_name = "errand-worker check-model",
    version,
    about
)]
pub struct CheckModelSettings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub model: ModelSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub agents: AgentSettings,
    /// The agent whose model is checked. The default is the default agent.
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
}

/// Checks the model of an agent.
///
/// # Errors
/// An invalid setting.
pub async fn check_model(settings: &CheckModelSettings) -> Result<CheckReport, Exit> {
    settings.model.check()?;
    let tools = tools();
    let tool_names: Vec<_> = errand_task_tools::specs().iter().map(|spec| spec.name).collect();
    let agents = Agents::load(&settings.agents, &tool_names, Secrets::Read)?;
    let agent = settings.agent.as_deref().unwrap_or(agents.default_name());
    let Some((_, config)) = agents.all().find(|(name, _)| *name == agent) else {
        let names: Vec<_> = agents.all().map(|(name, _)| name).collect();
        return Err(Exit::bad_setting(
            "--agent",
            format!("no agent has this name; there are {}", names.join(", ")),
        ));
    };
    let model = ModelSettings {
        model_retries: 0,
        ..agents::model_settings(&settings.model, config)
    };
    let names = Names::new(agent, config, &model);
    let (server, secrets) = public_address(&model);
    let mut check = Check::new(&model, tools)?;
    let failure = check.run(&names).await;
    check.findings.rejected = check.client.rejected_parts();
    Ok(CheckReport::new(&server, &model.openai_model, &check.findings, failure).without(&secrets))
}

/// The tools of the to-do agent.
fn tools() -> Vec<ToolSpec> {
    let specs = errand_task_tools::specs().iter();
    specs
        .map(|spec| ToolSpec {
            name: spec.name.to_owned(),
            description: spec.description.to_owned(),
            parameters: spec.parameters.clone(),
        })
        .collect()
}

/// The address of the server without secrets, and the secrets.
fn public_address(settings: &ModelSettings) -> (String, Vec<String>) {
    let key = settings.openai_api_key.as_ref();
    let mut secrets = vec![key.map_or_else(String::new, |key| key.reveal().to_owned())];
    let base_url = settings.openai_base_url.as_deref().unwrap_or(OPENAI);
    let Ok(mut url) = reqwest::Url::parse(base_url.trim()) else {
        return (String::new(), secrets);
    };
    secrets.extend(url.password().map(str::to_owned));
    secrets.extend(url.query().map(str::to_owned));
    let public = url.set_username("").is_ok() && url.set_password(None).is_ok();
    url.set_query(None);
    (if public { url.into() } else { String::new() }, secrets)
}

struct Check {
    client: ModelClient,
    tools: Vec<ToolSpec>,
    deadline: Instant,
    questions: usize,
    findings: Findings,
}

/// How a conversation ended.
enum Ended {
    /// With a reply after tool calls.
    Replied,
    /// With a reply and without tool calls.
    WithoutCalls,
    /// Otherwise, with the line that says what to change.
    Failed(String),
}

impl Check {
    fn new(settings: &ModelSettings, tools: Vec<ToolSpec>) -> Result<Self, Exit> {
        let mut registry = Metrics::new("errand-worker", env!("CARGO_PKG_VERSION"));
        let limit = ModelLimit::unlimited(LimitMetrics::new(&mut registry));
        let metrics = ModelMetrics::new(&mut registry);
        Ok(Self {
            client: ModelClient::new(settings.clone(), Vec::new(), Arc::new(limit), metrics)?,
            tools,
            deadline: Instant::now() + CHECK_TIMEOUT,
            questions: 0,
            findings: Findings::default(),
        })
    }

    /// Returns the line that says what to change, unless chats with tools work.
    async fn run(&mut self, names: &Names) -> Option<String> {
        // Models sometimes ignore tools, so a second conversation decides.
        for _ in 0..2 {
            match self.converse(names).await {
                Ok(Ended::Replied) => return None,
                Ok(Ended::Failed(failure)) => return Some(failure),
                Ok(Ended::WithoutCalls) => {}
                Err(error) => return Some(self.explain(names, &error).await),
            }
        }
        Some(names.no_calls())
    }

    /// One conversation, up to the reply.
    async fn converse(&mut self, names: &Names) -> Result<Ended, ModelError> {
        let mut run = new_run();
        let mut has_called = false;
        while self.questions < MAX_QUESTIONS {
            match run.next() {
                Action::CallModel { messages } => {
                    let answer = self.ask(messages, true).await?;
                    run.model_answered(answer);
                }
                Action::CallTools { calls, .. } => {
                    has_called = true;
                    if let Some(reason) = calls.iter().find_map(|call| call.arguments.as_ref().err()) {
                        return Ok(Ended::Failed(names.unusable_calls(reason)));
                    }
                    let results = (1..=calls.len()).map(|number| {
                        format!(r#"{{"success":true,"message":"Added task {number}.","task_id":{number}}}"#)
                    });
                    let results = results.collect();
                    run.tools_finished(results);
                }
                Action::Reply { .. } | Action::Fail(_) => break,
            }
        }
        Ok(match run.next() {
            Action::Reply { text } if has_called => {
                self.findings.reply = Some(text.to_owned());
                Ended::Replied
            }
            Action::Reply { .. } => Ended::WithoutCalls,
            Action::Fail(failure) => Ended::Failed(names.no_reply(*failure)),
            // It calls tools again and again, which a run limits too.
            Action::CallModel { .. } | Action::CallTools { .. } => {
                Ended::Failed(names.no_reply(errand_agent::AgentFailure::ToolLoopLimit))
            }
        })
    }

    /// The line for a failed request. A request without tools decides whether the tools are the reason.
    async fn explain(&mut self, names: &Names, error: &ModelError) -> String {
        let may_be_tools = matches!(
            error.kind(),
            ErrorKind::BadRequest | ErrorKind::ServerError | ErrorKind::UnknownModel
        );
        if may_be_tools
            && self.findings.calls == 0
            && self.questions < MAX_QUESTIONS
            && let Action::CallModel { messages } = new_run().next()
            && self.ask(messages, false).await.is_ok()
        {
            return names.without_tools(error);
        }
        names.of_error(error)
    }

    async fn ask(&mut self, messages: &[Message], with_tools: bool) -> Result<ModelAnswer, ModelError> {
        self.questions += 1;
        let tools = if with_tools { self.tools.as_slice() } else { &[] };
        let mut observer = Observer::default();
        let answer = self
            .client
            .ask(messages, tools, self.deadline, &mut observer)
            .await?;
        self.findings.add(&answer, observer.pieces, observer.first_piece);
        Ok(answer)
    }
}

fn new_run() -> AgentRun {
    let instructions = Instructions::new(prompt::ROLE).with_rules(prompt::RULES);
    let prompt = Prompt::new("Ada", "2026-01-31", Arc::new(instructions));
    AgentRun::new(
        Limits::default(),
        prompt,
        Vec::new(),
        QUESTION.to_owned(),
        Vec::new(),
    )
}
