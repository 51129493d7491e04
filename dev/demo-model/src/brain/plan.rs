//! From wishes to tool calls: which are still to be made, and what to say when none is left.
//!
//! The plan is made anew for every request from the same wishes and all results so far, so it needs no memory.

use serde_json::Value;

use super::{
    Answer, Call,
    action::{Action, Talk},
    dialogue::{Context, Dialogue, Done, Seen},
    pending::Pending,
    reply, talk,
};
use crate::wire::ChatRequest;

/// Calls in one answer.
const MOST_CALLS: usize = 16;
/// Calls in one turn.
const MOST_IN_TURN: usize = 60;
/// Answers with calls in one turn.
const MOST_STEPS: usize = 9;

/// Makes the plan for one request.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    pub(super) request: &'a ChatRequest,
    pub(super) dialogue: &'a Dialogue,
    pub(super) context: Context,
    /// Which of the results so far belong to a wish.
    claimed: Vec<bool>,
    /// Which were only looked up, and are not told.
    looked_up: Vec<bool>,
    /// Calls still to be made.
    calls: Vec<Call>,
    pieces: Vec<String>,
    pub(super) deletions: Vec<Seen>,
    question: Option<Pending>,
    more_questions: bool,
    /// The tasks of the wish before, for "it"; nothing while they are not known.
    pub(super) touched: Option<Vec<Seen>>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(request: &'a ChatRequest, dialogue: &'a Dialogue) -> Self {
        let results = dialogue.now.done.len();
        Self {
            request,
            dialogue,
            context: dialogue.context(),
            claimed: vec![false; results],
            looked_up: vec![false; results],
            calls: Vec::new(),
            pieces: Vec::new(),
            deletions: Vec::new(),
            question: None,
            more_questions: false,
            touched: Some(Vec::new()),
        }
    }

    /// The next answer.
    pub(super) fn answer(mut self, actions: Vec<Action>) -> Answer {
        for action in actions {
            self.wish(action);
        }
        let made = self.dialogue.now.done.len();
        let room = MOST_IN_TURN.saturating_sub(made).min(MOST_CALLS);
        if !self.calls.is_empty() && self.dialogue.now.steps < MOST_STEPS && room > 0 {
            self.calls.truncate(room);
            return Answer::Call(self.calls);
        }
        Answer::Say(self.words())
    }

    /// The final words.
    fn words(mut self) -> String {
        let mut pieces: Vec<String> = Vec::new();
        let done = &self.dialogue.now.done;
        let strays = done.iter().zip(self.claimed.iter().zip(&self.looked_up));
        pieces.extend(
            strays
                .filter(|(_, (claimed, looked))| !*claimed && !*looked)
                .map(|(done, _)| reply::told(done)),
        );
        pieces.append(&mut self.pieces);
        if !self.calls.is_empty() {
            pieces.push("That is as much as I can do at once; please ask again for the rest.".to_owned());
        }
        if !self.deletions.is_empty() {
            self.more_questions |= self.question.is_some();
            self.question = Some(Pending::Delete(std::mem::take(&mut self.deletions)));
        }
        if self.more_questions {
            pieces.push("One question at a time; please tell me the rest again afterwards.".to_owned());
        }
        let mut text = pieces.join("\n");
        if let Some(question) = &self.question {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&question.ask(self.dialogue.now.user.trim()));
        }
        if text.is_empty() {
            self.talk(Talk::Unclear)
        } else {
            text
        }
    }

    pub(super) fn talk(&self, what: Talk) -> String {
        talk::say(what, talk::name_in(&self.dialogue.system).as_deref())
    }

    pub(super) fn say(&mut self, words: impl Into<String>) {
        self.pieces.push(words.into());
    }

    pub(super) fn ask(&mut self, question: Pending) {
        self.more_questions |= self.question.is_some();
        self.question.get_or_insert(question);
    }

    /// Makes a call, or tells its result; the task it was about.
    pub(super) fn act(&mut self, name: &str, arguments: Value) -> Option<Seen> {
        if !self.request.offers(name) {
            self.say(format!(
                "I cannot do that here, because I was not given the tool {name}."
            ));
            return None;
        }
        let done = self.dialogue.now.done.iter().enumerate();
        let at = done
            .filter(|(at, done)| !self.is_claimed(*at) && same(done, name, &arguments))
            .map(|(at, _)| at)
            .next();
        let Some((at, done)) = at.and_then(|at| Some((at, self.dialogue.now.done.get(at)?))) else {
            self.calls.push(Call {
                name: name.to_owned(),
                arguments,
            });
            return None;
        };
        if let Some(claimed) = self.claimed.get_mut(at) {
            *claimed = true;
        }
        self.say(reply::told(done));
        done.succeeded().then(|| done.task()).flatten()
    }

    fn is_claimed(&self, at: usize) -> bool {
        self.claimed.get(at).copied().unwrap_or_default()
    }

    /// The result of a look at the list, or nothing while it is still to come.
    pub(super) fn look(&mut self, arguments: &Value) -> Option<&'a Done> {
        let done = self
            .dialogue
            .now
            .done
            .iter()
            .enumerate()
            .find(|(_, done)| same(done, "list_tasks", arguments));
        let Some((at, done)) = done else {
            let wanted = self
                .calls
                .iter()
                .any(|call| call.name == "list_tasks" && call.arguments == *arguments);
            if !wanted {
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
        Some(done)
    }
}

/// Whether a call that was made is this one; members that others added do not matter.
fn same(done: &Done, name: &str, arguments: &Value) -> bool {
    let ours = arguments.as_object().into_iter().flatten();
    let theirs = done.arguments.as_object().into_iter().flatten();
    let count = theirs.filter(|(name, _)| name.as_str() != "user_id").count();
    let ours_count = ours.clone().count();
    done.name == name
        && count == ours_count
        && ours
            .into_iter()
            .all(|(name, value)| done.arguments.get(name) == Some(value))
}
