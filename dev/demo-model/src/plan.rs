//! Turns actions into tool calls, and into the reply once all calls have results.
//!
//! The plan is computed again for every request, from the same actions and all results so far. It needs no state.

mod actions;
mod matching;
mod resolve;

use errand_fake_model::{Answer, Call, ChatRequest};
use serde_json::Value;

use crate::{
    action::{Action, SmallTalk},
    dialogue::{Context, Dialogue, ExecutedCall, KnownTask, question::Question},
    reply::{self, small_talk},
};

/// Limit of tool calls in one answer.
const MAX_CALLS_PER_ANSWER: usize = 16;
/// Limit of tool calls in one turn.
const MAX_CALLS_PER_TURN: usize = 60;
/// Limit of answers with tool calls in one turn.
const MAX_STEPS: usize = 9;

/// The plan for one request.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    pub(crate) request: &'a ChatRequest,
    pub(crate) dialogue: &'a Dialogue,
    pub(crate) context: Context,
    /// Per result so far: whether it has been matched to an action.
    claimed: Vec<bool>,
    /// Per result so far: whether it only served to find tasks. Such results are not part of the reply.
    looked_up: Vec<bool>,
    /// The calls without a result.
    calls: Vec<Call>,
    /// The lines of the reply.
    lines: Vec<String>,
    /// Tasks whose deletion needs confirmation.
    pub(crate) deletions: Vec<KnownTask>,
    question: Option<Question>,
    more_questions: bool,
    /// The tasks of the previous action, to which "it" refers. `None` until they are known.
    pub(crate) last_tasks: Option<Vec<KnownTask>>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(request: &'a ChatRequest, dialogue: &'a Dialogue) -> Self {
        let results = dialogue.current.calls.len();
        Self {
            request,
            dialogue,
            context: dialogue.context(),
            claimed: vec![false; results],
            looked_up: vec![false; results],
            calls: Vec::new(),
            lines: Vec::new(),
            deletions: Vec::new(),
            question: None,
            more_questions: false,
            last_tasks: Some(Vec::new()),
        }
    }

    pub(crate) fn answer(mut self, actions: Vec<Action>) -> Answer {
        for action in actions {
            self.perform(action);
        }
        let made = self.dialogue.current.calls.len();
        let room = MAX_CALLS_PER_TURN.saturating_sub(made).min(MAX_CALLS_PER_ANSWER);
        if !self.calls.is_empty() && self.dialogue.current.steps < MAX_STEPS && room > 0 {
            self.calls.truncate(room);
            return Answer::ToolCalls(self.calls);
        }
        Answer::Text(self.reply())
    }

    /// Composes the reply.
    fn reply(mut self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let calls = &self.dialogue.current.calls;
        let unmatched = calls.iter().zip(self.claimed.iter().zip(&self.looked_up));
        lines.extend(
            unmatched
                .filter(|(_, (claimed, looked_up))| !*claimed && !*looked_up)
                .map(|(call, _)| reply::describe_result(call)),
        );
        lines.append(&mut self.lines);
        if !self.calls.is_empty() {
            lines.push("That's as much as I can do at once. Please ask again for the rest.".to_owned());
        }
        if !self.deletions.is_empty() {
            self.more_questions |= self.question.is_some();
            self.question = Some(Question::Delete(std::mem::take(&mut self.deletions)));
        }
        if self.more_questions {
            lines.push("One question at a time. Please repeat the rest afterwards.".to_owned());
        }
        let mut text = lines.join("\n");
        if let Some(question) = &self.question {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&question.text(self.dialogue.current.user.trim()));
        }
        if text.is_empty() {
            self.small_talk(SmallTalk::Unclear)
        } else {
            text
        }
    }

    pub(crate) fn small_talk(&self, kind: SmallTalk) -> String {
        small_talk::reply(kind, small_talk::name_in(&self.dialogue.system).as_deref())
    }

    /// Adds a line to the reply.
    pub(crate) fn add_line(&mut self, text: impl Into<String>) {
        self.lines.push(text.into());
    }

    /// Asks a question after the reply. Only the first question is asked.
    pub(crate) fn ask(&mut self, question: Question) {
        self.more_questions |= self.question.is_some();
        self.question.get_or_insert(question);
    }

    /// Plans a tool call or, if it has a result, adds the result to the reply. Returns the task in the result.
    pub(crate) fn call(&mut self, name: &str, arguments: Value) -> Option<KnownTask> {
        if !self.request.offers(name) {
            self.add_line(format!(
                "I can't do that, because the tool {name} isn't available."
            ));
            return None;
        }
        let calls = self.dialogue.current.calls.iter().enumerate();
        let at = calls
            .filter(|(at, call)| !self.is_claimed(*at) && is_same_call(call, name, &arguments))
            .map(|(at, _)| at)
            .next();
        let Some((at, executed)) = at.and_then(|at| Some((at, self.dialogue.current.calls.get(at)?))) else {
            self.calls.push(Call {
                name: name.to_owned(),
                arguments,
            });
            return None;
        };
        if let Some(claimed) = self.claimed.get_mut(at) {
            *claimed = true;
        }
        self.add_line(reply::describe_result(executed));
        executed.succeeded().then(|| executed.task()).flatten()
    }

    fn is_claimed(&self, at: usize) -> bool {
        self.claimed.get(at).copied().unwrap_or_default()
    }

    /// Plans a `list_tasks` call, whose result is not part of the reply. Returns the result, or `None` until it is available.
    pub(crate) fn list_tasks(&mut self, arguments: &Value) -> Option<&'a ExecutedCall> {
        let executed = self
            .dialogue
            .current
            .calls
            .iter()
            .enumerate()
            .find(|(_, call)| is_same_call(call, "list_tasks", arguments));
        let Some((at, executed)) = executed else {
            let planned = self
                .calls
                .iter()
                .any(|call| call.name == "list_tasks" && call.arguments == *arguments);
            if !planned {
                self.calls.push(Call {
                    name: "list_tasks".to_owned(),
                    arguments: arguments.clone(),
                });
            }
            return None;
        };
        if let Some(looked_up) = self.looked_up.get_mut(at) {
            *looked_up = true;
        }
        Some(executed)
    }
}

/// Whether an executed call has this name and these arguments. Ignores the `user_id` that the server adds.
fn is_same_call(call: &ExecutedCall, name: &str, arguments: &Value) -> bool {
    let expected = arguments.as_object().into_iter().flatten();
    let actual = call.arguments.as_object().into_iter().flatten();
    let count = actual.filter(|(name, _)| name.as_str() != "user_id").count();
    let expected_count = expected.clone().count();
    call.name == name
        && count == expected_count
        && expected
            .into_iter()
            .all(|(name, value)| call.arguments.get(name) == Some(value))
}
