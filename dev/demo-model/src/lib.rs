//! The demo model: a rule-based program that answers chats about a to-do list, so that Errand can be tried without an
//! API key.
//!
//! [`answer`] maps a transcript to a text or to tool calls. It keeps no state between requests. `parse` splits the last
//! user message into clauses and classifies each by a table of rules, `interpret` takes into account the question that
//! the previous reply may have asked, and `plan` turns the resulting `action`s into tool calls or a reply.
//! `errand-fake-model` serves it over HTTP.

mod action;
mod dialogue;
mod interpret;
mod parse;
mod plan;
mod reply;

use errand_fake_model::{Answer, ChatRequest};

/// Returns the reply to a transcript, or the tool calls that are needed first.
pub fn answer(request: &ChatRequest) -> Answer {
    let dialogue = dialogue::Dialogue::read(request);
    let actions = interpret::actions(&dialogue);
    plan::Planner::new(request, &dialogue).answer(actions)
}
