//! The demo brain: what to say or call next, from the transcript and nothing else.
//!
//! A message is cut into clauses (`clause`), each clause is matched against a table of rules (`rules`,
//! `intent`), and the wishes are turned into tool calls or words (`plan`). Nothing is kept between requests:
//! a question that the brain asked is found again in its own last reply (`pending`).

mod action;
mod choice;
mod clause;
mod description;
mod dialogue;
mod intent;
mod interpret;
mod lexicon;
mod likeness;
mod pattern;
mod pending;
mod place;
mod plan;
mod polite;
mod query;
mod reply;
mod resolve;
mod rules;
mod talk;
mod target;
mod title;
mod token;
mod verdict;
mod wish;

use serde_json::Value;

use crate::wire::ChatRequest;

/// A tool to call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool's name.
    pub name: String,
    /// The arguments, an object.
    pub arguments: Value,
}

/// What the brain does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A text, which ends the turn.
    Say(String),
    /// Tools to call; their results come back in the next request.
    Call(Vec<Call>),
}

/// What to do next.
pub fn answer(request: &ChatRequest) -> Answer {
    let dialogue = dialogue::Dialogue::read(request);
    let wishes = interpret::wishes(&dialogue);
    plan::Planner::new(request, &dialogue).answer(wishes)
}
