//! The tool loop: a state machine that requests one action at a time.

use thiserror::Error;

use serde_json::Value;

use crate::ids::Ids;
use crate::plan::{self, failed_result};
use crate::reply_from_results;
use crate::transcript::{self, bounded_result};
use crate::{
    FinishReason, JournalledStep, Message, ModelAnswer, PlannedCall, Prompt, ToolCall, Turn, Usage, clean,
};

/// Upper bounds that the database imposes: steps, calls and the messages of a run are numbered with smallints.
const MAX_STEPS: u16 = 32_767;
const MAX_CALLS: usize = 32_000;

/// Appended to a reply that reached the token limit.
const CUT_OFF: &str = "\n\n(The answer was cut off here because it reached its length limit.)";

/// The next action. It borrows from the run, which changes only when the result is passed back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action<'a> {
    /// Call the model with these messages, then call [`AgentRun::model_answered`].
    CallModel {
        /// The complete transcript.
        messages: &'a [Message],
    },
    /// Execute these calls (a [refused](PlannedCall::refusal) call already has its result), then call
    /// [`AgentRun::tools_finished`].
    CallTools {
        /// Number of the step, from 0 over all attempts of the run.
        step: u16,
        /// In the model's order. Never empty.
        calls: &'a [PlannedCall],
    },
    /// The run has ended with this reply.
    Reply {
        /// Not blank.
        text: &'a str,
    },
    /// The run has failed because of the model's answers.
    Fail(&'a AgentFailure),
}

/// A failure caused by the model's answers; faults of network and database belong to the caller. The text is for the user
/// and completes the sentence "Agent execution failed: …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AgentFailure {
    /// The model requested more steps or tool calls than the limits allow.
    #[error("the tool-loop limit was reached without an answer; asking for less at once may help")]
    ToolLoopLimit,
    /// The provider's content filter blocked the answer.
    #[error("the model provider's content filter blocked the answer")]
    ContentFilter,
    /// The answer has neither a text nor tool calls.
    #[error("the model returned an empty answer")]
    EmptyAnswer,
    /// The model reached the token limit before it produced any text.
    #[error("the model reached its length limit before it produced any text")]
    NoRoomToAnswer,
}

/// The limits of a run. They guarantee that it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Model calls in one attempt. The last one must produce the reply; its tool calls are not executed, because the model
    /// could not report their results.
    pub max_steps: u16,
    /// Tool calls in one step. Further ones are answered with a `VALIDATION_ERROR`.
    pub max_calls_per_step: usize,
    /// Tool calls in a run, including refused ones.
    pub max_calls: usize,
    /// Size of the arguments of one call, in bytes of JSON text. Larger ones are answered with a `VALIDATION_ERROR`.
    pub max_argument_bytes: usize,
    /// Size of one tool result, in bytes of JSON text. The model sees only the beginning of a larger one.
    pub max_result_bytes: usize,
    /// Messages from earlier turns in the transcript.
    pub history_max_messages: usize,
    /// Estimated tokens of these messages.
    pub history_max_tokens: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 10,
            max_calls_per_step: 16,
            max_calls: 64,
            max_argument_bytes: 16 * 1024,
            max_result_bytes: 256 * 1024,
            history_max_messages: 50,
            history_max_tokens: 16_000,
        }
    }
}

/// One run of the tool loop.
#[derive(Debug, Clone)]
pub struct AgentRun {
    limits: Limits,
    messages: Vec<Message>,
    ids: Ids,
    /// Number of the next step.
    step: u16,
    /// Number of the first step that this attempt may no longer start.
    end: u16,
    calls: usize,
    usage: Usage,
    model: String,
    /// Position of the user's message in `messages`.
    own_message: usize,
    /// Whether an empty answer has been requested again.
    has_asked_again: bool,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    AwaitingModel,
    AwaitingTools { step: u16, calls: Vec<PlannedCall> },
    Replied(String),
    Failed(AgentFailure),
}

impl AgentRun {
    /// Starts a run, or resumes it where its journal ends.
    ///
    /// `history` contains the conversation's earlier runs, oldest first. The oldest are omitted if they exceed the limits.
    ///
    /// `journal` contains the steps that earlier attempts of this run committed, in order. They are always part of the
    /// transcript and count towards the limit of calls. If the last step has pending calls, these are the first action,
    /// without another model call.
    ///
    /// The limit of steps applies per attempt, so that a user can retry a run that reached it.
    pub fn new(
        limits: Limits,
        prompt: Prompt,
        history: Vec<Turn>,
        user_message: String,
        journal: Vec<JournalledStep>,
    ) -> Self {
        let limits = Limits {
            max_steps: limits.max_steps.min(MAX_STEPS),
            max_calls: limits.max_calls.min(MAX_CALLS),
            ..limits
        };
        let mut messages = vec![Message::System(prompt)];
        messages.extend(transcript::history(history, &limits));
        let own_message = messages.len();
        messages.push(Message::User {
            content: user_message,
        });

        let mut ids = Ids::default();
        let mut step = 0_u16;
        let mut calls = 0_usize;
        let mut pending = Vec::new();
        let mut journal = journal.into_iter().peekable();
        while let Some(past) = journal.next() {
            step = step.max(past.step.saturating_add(1));
            calls = calls
                .saturating_add(past.calls.len())
                .saturating_add(past.pending.len());
            if !past.pending.is_empty() && journal.peek().is_none() {
                pending = transcript::push_deferred(&mut messages, past, &mut ids, &limits);
            } else if !past.calls.is_empty() {
                // A step without recorded calls had no effect, so the model need not see it.
                let JournalledStep {
                    content,
                    provider_data,
                    calls,
                    ..
                } = past;
                transcript::push_calls(&mut messages, content, provider_data, calls, &mut ids, &limits);
            }
        }
        let end = step.saturating_add(limits.max_steps).min(MAX_STEPS);
        let state = if !pending.is_empty() {
            State::AwaitingTools {
                step: step.saturating_sub(1),
                calls: pending,
            }
        } else if step < end {
            State::AwaitingModel
        } else {
            State::Failed(AgentFailure::ToolLoopLimit)
        };
        Self {
            limits,
            messages,
            ids,
            step,
            end,
            calls,
            usage: Usage::default(),
            model: String::new(),
            own_message,
            has_asked_again: false,
            state,
        }
    }

    /// The next action. Calling this again returns the same action.
    pub fn next(&self) -> Action<'_> {
        match &self.state {
            State::AwaitingModel => Action::CallModel {
                messages: &self.messages,
            },
            State::AwaitingTools { step, calls } => Action::CallTools { step: *step, calls },
            State::Replied(text) => Action::Reply { text },
            State::Failed(failure) => Action::Fail(failure),
        }
    }

    /// Processes the model's answer to [`Action::CallModel`]. Ignored if the run awaits anything else.
    ///
    /// Cleans names, IDs, arguments and text. Tool calls are planned whatever the finish reason is. An answer without tool
    /// calls ends the run with a reply or a failure. If it is empty and tools were called, it is requested once more under the
    /// same step number; then the reply is composed from the results of the tools that succeeded.
    pub fn model_answered(&mut self, answer: ModelAnswer) {
        if !matches!(self.state, State::AwaitingModel) {
            return;
        }
        let ModelAnswer {
            content,
            refusal,
            tool_calls,
            finish,
            usage,
            model,
            provider_data,
        } = answer;
        self.usage += usage;
        self.model = clean::text(model);
        let step = self.step;
        self.step = step.saturating_add(1);
        let content = clean::text(content);
        self.state = if tool_calls.is_empty() {
            self.end(content, refusal.map(clean::text), &finish)
        } else {
            let provider_data = provider_data.and_then(clean::provider_data);
            let cut_off = finish == FinishReason::Length;
            self.plan(step, content, provider_data, tool_calls, cut_off)
        };
    }

    fn end(&mut self, content: String, refusal: Option<String>, finish: &FinishReason) -> State {
        let state = end_state(content, refusal, finish);
        let State::Failed(failure) = state else {
            return state;
        };
        let own = self.messages.get(self.own_message..).unwrap_or_default();
        if !own.iter().any(|message| matches!(message, Message::Tool { .. })) {
            return State::Failed(failure);
        }
        if !self.has_asked_again && failure != AgentFailure::ContentFilter {
            self.has_asked_again = true;
            self.step = self.step.saturating_sub(1);
            return State::AwaitingModel;
        }
        // A run whose tools took effect does not fail for lack of text.
        reply_from_results::compose(own).map_or(State::Failed(failure), State::Replied)
    }

    fn plan(
        &mut self,
        step: u16,
        content: String,
        provider_data: Option<Box<Value>>,
        tool_calls: Vec<ToolCall>,
        cut_off: bool,
    ) -> State {
        self.calls = self.calls.saturating_add(tool_calls.len());
        // Tools of the last step are not called, because the model could not report their results.
        if self.step >= self.end || self.calls > self.limits.max_calls {
            return State::Failed(AgentFailure::ToolLoopLimit);
        }
        let calls = plan::plan(tool_calls, &self.limits, cut_off, step, &mut self.ids);
        transcript::push_plan(&mut self.messages, content, provider_data, &calls);
        State::AwaitingTools { step, calls }
    }

    /// Processes the results of [`Action::CallTools`]: JSON texts in the order of the calls. Ignored if the run awaits
    /// anything else. A missing result is replaced with an error and an extra one is dropped, so the transcript stays valid.
    pub fn tools_finished(&mut self, results: Vec<String>) {
        let State::AwaitingTools { calls, .. } = &mut self.state else {
            return;
        };
        let calls = std::mem::take(calls);
        let mut results = results.into_iter();
        for call in calls {
            let result = results.next().or_else(|| call.refusal()).unwrap_or_else(|| {
                failed_result(
                    "INTERNAL_ERROR",
                    "the tool returned no result; it is unknown whether it took effect",
                )
            });
            let content = bounded_result(result, &self.limits);
            self.messages.push(Message::Tool {
                tool_call_id: call.id,
                content,
            });
        }
        self.state = State::AwaitingModel;
    }

    /// Shortens the transcript because it exceeds the model's context window: first the history, the older half of it each time,
    /// then large tool results. Returns whether anything could be shortened. Ignored unless a model call is next.
    pub fn shorten(&mut self) -> bool {
        matches!(self.state, State::AwaitingModel)
            && transcript::shorten(&mut self.messages, &mut self.own_message, &self.limits)
    }

    /// The estimated tokens of the transcript. Compare it only with other estimates.
    pub fn estimated_tokens(&self) -> usize {
        self.messages.iter().map(transcript::tokens).sum()
    }

    /// Number of the next step, which is also the number of steps so far over all attempts.
    pub fn step(&self) -> u16 {
        self.step
    }

    /// Tokens used by the model calls of this attempt.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Name of the model that answered last, as the server reports it. Empty before the first answer of this attempt.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The model's text beside the calls of [`Action::CallTools`], for the journal. Empty in other states.
    pub fn content(&self) -> &str {
        match (&self.state, self.messages.last()) {
            (State::AwaitingTools { .. }, Some(Message::Assistant { content, .. })) => content,
            _ => "",
        }
    }

    /// The provider's data beside the calls of [`Action::CallTools`], for the journal. `None` in other states.
    pub fn provider_data(&self) -> Option<&Value> {
        match (&self.state, self.messages.last()) {
            (State::AwaitingTools { .. }, Some(Message::Assistant { provider_data, .. })) => {
                provider_data.as_deref()
            }
            _ => None,
        }
    }
}

/// The final state after an answer without tool calls.
fn end_state(content: String, refusal: Option<String>, finish: &FinishReason) -> State {
    let has_content = !content.trim().is_empty();
    let refusal = refusal.filter(|refusal| !refusal.trim().is_empty());
    match (finish, refusal) {
        (FinishReason::ContentFilter, _) => State::Failed(AgentFailure::ContentFilter),
        (_, Some(refusal)) if has_content => State::Replied(format!("{content}\n\n{refusal}")),
        (_, Some(refusal)) => State::Replied(refusal),
        (FinishReason::Length, None) if has_content => State::Replied(content + CUT_OFF),
        (FinishReason::Length, None) => State::Failed(AgentFailure::NoRoomToAnswer),
        (_, None) if has_content => State::Replied(content),
        (_, None) => State::Failed(AgentFailure::EmptyAnswer),
    }
}
