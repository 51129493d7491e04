//! The loop itself: a state machine that asks for one thing at a time.

use crate::ids::Ids;
use crate::plan::{self, failed_result};
use crate::transcript::{self, bounded_result};
use crate::{
    AgentFailure, FinishReason, JournalledStep, Limits, Message, ModelAnswer, PlannedCall, Prompt, ToolCall,
    Turn, Usage, clean,
};

/// What the database can number: a step and a call are smallints there, and each call of a run takes a slot.
const MAX_STEPS: u16 = 32_767;
const MAX_CALLS: usize = 32_000;

/// What an answer that ran out of tokens ends with.
const CUT_OFF: &str = "\n\n(The answer was cut off here because it reached its length limit.)";

/// What is to be done now. Everything is borrowed from the run, which stays as it is until it is told what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action<'a> {
    /// Show the model these messages; then [`AgentRun::model_answered`].
    CallModel {
        /// The whole transcript.
        messages: &'a [Message],
    },
    /// Make these calls, or answer them with their refusal; then [`AgentRun::tools_finished`].
    CallTools {
        /// The model call that asked for them, counted from 0 over all attempts of the run.
        step: u16,
        /// In the model's order; never empty.
        calls: &'a [PlannedCall],
    },
    /// Over: this is the answer.
    Reply {
        /// Not blank.
        text: &'a str,
    },
    /// Over: the run failed by what the model did.
    Fail(&'a AgentFailure),
}

/// One run of the tool loop.
#[derive(Debug, Clone)]
pub struct AgentRun {
    limits: Limits,
    messages: Vec<Message>,
    ids: Ids,
    /// Number of the next model call.
    step: u16,
    /// Number at which this attempt has used up its model calls.
    end: u16,
    calls: usize,
    usage: Usage,
    model: String,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Asking,
    Calling { step: u16, calls: Vec<PlannedCall> },
    Replied(String),
    Failed(AgentFailure),
}

impl AgentRun {
    /// Begins a run, or takes it up where its journal ends.
    ///
    /// `history` are the conversation's earlier runs, oldest first; the oldest are left out where the bounds demand it.
    /// `journal` are the steps that an earlier attempt of this run committed, in order: they stand, are always shown,
    /// and count towards the total of calls. Of a last step whose calls were not all made those that are left are the
    /// first thing to be done; the model is not asked for them again. The bound of steps is an attempt's: a run that is
    /// tried again by its user after it ran into that bound has as many steps again.
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
        messages.push(Message::User {
            content: user_message,
        });

        let mut ids = Ids::default();
        let mut step = 0_u16;
        let mut calls = 0_usize;
        let mut open = Vec::new();
        let mut journal = journal.into_iter().peekable();
        while let Some(done) = journal.next() {
            step = step.max(done.step.saturating_add(1));
            calls = calls
                .saturating_add(done.calls.len())
                .saturating_add(done.open.len());
            if !done.open.is_empty() && journal.peek().is_none() {
                open = transcript::push_open(&mut messages, done, &mut ids, &limits);
            } else if !done.calls.is_empty() {
                // A step without calls left nothing behind that the model need know.
                transcript::push_calls(&mut messages, done.content, done.calls, &mut ids, &limits);
            }
        }
        let end = step.saturating_add(limits.max_steps).min(MAX_STEPS);
        let state = if !open.is_empty() {
            State::Calling {
                step: step.saturating_sub(1),
                calls: open,
            }
        } else if step < end {
            State::Asking
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
            state,
        }
    }

    /// What is to be done now. Asking again changes nothing.
    pub fn next(&self) -> Action<'_> {
        match &self.state {
            State::Asking => Action::CallModel {
                messages: &self.messages,
            },
            State::Calling { step, calls } => Action::CallTools { step: *step, calls },
            State::Replied(text) => Action::Reply { text },
            State::Failed(failure) => Action::Fail(failure),
        }
    }

    /// Takes the model's answer to [`Action::CallModel`]; at any other time it is ignored.
    ///
    /// Names, ids, arguments and text are cleaned. Tool calls are honoured whatever the finish reason says; without
    /// any, the answer is the reply or the failure.
    pub fn model_answered(&mut self, answer: ModelAnswer) {
        if !matches!(self.state, State::Asking) {
            return;
        }
        let ModelAnswer {
            content,
            refusal,
            tool_calls,
            finish,
            usage,
            model,
        } = answer;
        self.usage += usage;
        self.model = clean::text(model);
        let step = self.step;
        self.step = step.saturating_add(1);
        let content = clean::text(content);
        self.state = if tool_calls.is_empty() {
            ending(content, refusal.map(clean::text), &finish)
        } else {
            self.plan(step, content, tool_calls, finish == FinishReason::Length)
        };
    }

    fn plan(&mut self, step: u16, content: String, tool_calls: Vec<ToolCall>, cut_off: bool) -> State {
        self.calls = self.calls.saturating_add(tool_calls.len());
        // Tools of the last step are not called: the model could not tell the user what came of them.
        if self.step >= self.end || self.calls > self.limits.max_calls {
            return State::Failed(AgentFailure::ToolLoopLimit);
        }
        let calls = plan::plan(tool_calls, &self.limits, cut_off, step, &mut self.ids);
        transcript::push_plan(&mut self.messages, content, &calls);
        State::Calling { step, calls }
    }

    /// Takes the results of [`Action::CallTools`], JSON text, one a call in their order; at any other time they are
    /// ignored. A missing one is answered in its place, one too many is dropped: the transcript stays valid.
    pub fn tools_finished(&mut self, results: Vec<String>) {
        let State::Calling { calls, .. } = &mut self.state else {
            return;
        };
        let calls = std::mem::take(calls);
        let mut results = results.into_iter();
        for call in calls {
            let result = results.next().or_else(|| call.refusal()).unwrap_or_else(|| {
                failed_result(
                    "INTERNAL_ERROR",
                    "the tool gave no result; whether it took effect is unknown",
                )
            });
            let content = bounded_result(result, &self.limits);
            self.messages.push(Message::Tool {
                tool_call_id: call.id,
                content,
            });
        }
        self.state = State::Asking;
    }

    /// Number of the next model call, which is the number of model calls so far over all attempts.
    pub fn step(&self) -> u16 {
        self.step
    }

    /// The tokens of the model calls of this attempt; the journal's are not in it.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The model that answered last, as the server names it; empty before the first answer of this attempt.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What the model said beside the tool calls of [`Action::CallTools`], for the journal; else empty.
    pub fn said(&self) -> &str {
        match (&self.state, self.messages.last()) {
            (State::Calling { .. }, Some(Message::Assistant { content, .. })) => content,
            _ => "",
        }
    }
}

/// What an answer without tool calls comes to.
fn ending(content: String, refusal: Option<String>, finish: &FinishReason) -> State {
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
