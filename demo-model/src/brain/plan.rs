//! From wishes to tool calls: which are still to be made, and what to say when none is left.
//!
//! The plan is made anew for every request from the same wishes and all results so far, so it needs no memory.

use serde_json::{Map, Value, json};

use super::{
    Answer, Call,
    action::{Action, NewTask, Query, Ref, Talk, Target},
    dialogue::{Context, Dialogue, Done, Seen},
    pending::{Pending, Verb},
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
    deletions: Vec<Seen>,
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

    fn talk(&self, what: Talk) -> String {
        talk::say(what, talk::name_in(&self.dialogue.system).as_deref())
    }

    pub(super) fn say(&mut self, words: impl Into<String>) {
        self.pieces.push(words.into());
    }

    pub(super) fn ask(&mut self, question: Pending) {
        self.more_questions |= self.question.is_some();
        self.question.get_or_insert(question);
    }

    /// One wish: calls what it needs, or takes up what came back.
    fn wish(&mut self, action: Action) {
        match action {
            Action::Add(new) if new.is_empty() => self.ask(Pending::NewTitle),
            Action::Add(new) => self.add(&new),
            Action::List(query) => self.list(&query),
            Action::More => self.more(),
            Action::Show(target) => self.show(&target),
            Action::SetDone(target, done) => self.set_done(&target, done),
            Action::Rename(target, title) => self.rename(&target, title.as_deref()),
            Action::Describe(target, text) => self.describe(&target, text.as_deref()),
            Action::Append(target, text) => self.append(&target, &text),
            Action::Delete(target) => self.delete(&target),
            Action::DeleteConfirmed(ids) => {
                for id in ids {
                    self.act("delete_task", json!({"task_id": id}));
                }
            }
            Action::Undo => self.undo(),
            Action::Change(target) => self.change(&target),
            Action::Talk(Talk::MaybeAdd) => self.ask(Pending::MaybeAdd),
            Action::Talk(Talk::AskAgain) => self.ask_again(),
            Action::Talk(what) => {
                let words = self.talk(what);
                self.say(words);
            }
        }
    }

    /// Makes a call, or tells its result; the task it was about.
    fn act(&mut self, name: &str, arguments: Value) -> Option<Seen> {
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

    fn add(&mut self, new: &[NewTask]) {
        let mut touched = Vec::new();
        for task in new {
            let mut arguments = json!({"title": task.title});
            if let (Some(object), Some(description)) = (arguments.as_object_mut(), &task.description) {
                object.insert("description".to_owned(), json!(description));
            }
            touched.extend(self.act("add_task", arguments));
        }
        self.touched = (touched.len() == new.len()).then_some(touched);
    }

    fn list(&mut self, query: &Query) {
        let mut arguments = Map::new();
        let members = [
            ("completed", query.completed.map(Value::from)),
            ("search", query.search.as_deref().map(Value::from)),
            ("limit", query.limit.map(Value::from)),
            ("offset", query.offset.map(Value::from)),
        ];
        arguments.extend(
            members
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
        self.act("list_tasks", Value::Object(arguments));
    }

    fn more(&mut self) {
        let Some(last) = &self.context.last_list else {
            return self.list(&Query::default());
        };
        let text = |name| {
            last.arguments
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let number = |name| last.arguments.get(name).and_then(Value::as_i64);
        let shown = i64::try_from(last.tasks().len()).unwrap_or_default();
        let query = Query {
            completed: last.arguments.get("completed").and_then(Value::as_bool),
            search: text("search"),
            limit: number("limit"),
            offset: Some(number("offset").unwrap_or_default() + shown),
        };
        self.list(&query);
    }

    fn show(&mut self, target: &Target) {
        let Some(tasks) = self.resolve(target, Verb::Show) else {
            return;
        };
        let Some(tasks) = self.known(tasks) else { return };
        for task in &tasks {
            self.say(reply::whole(task));
        }
        self.touched = Some(tasks);
    }

    fn set_done(&mut self, target: &Target, done: bool) {
        let verb = if done { Verb::Complete } else { Verb::Reopen };
        let Some(tasks) = self.resolve(target, verb) else {
            return;
        };
        for task in &tasks {
            let mut arguments = json!({"task_id": task.id});
            if let (Some(object), false) = (arguments.as_object_mut(), done) {
                object.insert("completed".to_owned(), json!(false));
            }
            self.act("complete_task", arguments);
        }
        self.touched = Some(tasks);
    }

    fn rename(&mut self, target: &Target, title: Option<&str>) {
        let Some(tasks) = self.resolve(target, Verb::Rename) else {
            return;
        };
        match (tasks.as_slice(), title) {
            ([task], Some(title)) => {
                let mut arguments = json!({"task_id": task.id, "title": title});
                if let (Some(new), Some(object)) = (super::title::fit(title, None), arguments.as_object_mut())
                    && let Some(whole) = new.description
                {
                    object.insert("title".to_owned(), json!(new.title));
                    object.insert("description".to_owned(), json!(whole));
                }
                self.act("update_task", arguments);
            }
            ([task], None) => self.ask(Pending::Title(task.id)),
            ([], _) => {}
            _ => self.ask(Pending::Which(Verb::Rename, tasks.clone())),
        }
        self.touched = Some(tasks);
    }

    fn describe(&mut self, target: &Target, text: Option<&str>) {
        let Some(tasks) = self.resolve(target, Verb::Describe) else {
            return;
        };
        match (tasks.as_slice(), text) {
            (many, Some(text)) => {
                for task in many {
                    self.act("update_task", json!({"task_id": task.id, "description": text}));
                }
            }
            ([task, ..], None) => self.ask(Pending::Description(task.id)),
            ([], None) => {}
        }
        self.touched = Some(tasks);
    }

    /// Adds to what the description says already.
    fn append(&mut self, target: &Target, text: &str) {
        let Some(tasks) = self.resolve(target, Verb::Describe) else {
            return;
        };
        let Some(tasks) = self.known(tasks) else { return };
        for task in &tasks {
            let whole = match &task.description {
                Some(before) => format!("{before}\n{text}"),
                None => text.to_owned(),
            };
            self.act("update_task", json!({"task_id": task.id, "description": whole}));
        }
        self.touched = Some(tasks);
    }

    fn delete(&mut self, target: &Target) {
        let Some(tasks) = self.resolve(target, Verb::Delete) else {
            return;
        };
        let Some(tasks) = self.known(tasks) else { return };
        for task in tasks {
            if !self.deletions.iter().any(|known| known.id == task.id) {
                self.deletions.push(task);
            }
        }
        self.touched = Some(self.deletions.clone());
    }

    fn change(&mut self, target: &Target) {
        let Some(tasks) = self.resolve(target, Verb::Change) else {
            return;
        };
        if let Some(task) = tasks.first() {
            self.ask(Pending::Title(task.id));
        }
    }

    /// Takes back the last changes.
    fn undo(&mut self) {
        let changes = std::mem::take(&mut self.context.last_changes);
        if changes.is_empty() {
            return self.say("There is nothing that I could undo.");
        }
        for change in changes {
            let Some(task) = change.task() else { continue };
            match change.name.as_str() {
                "complete_task" => self.set_done(
                    &Target::Refs(vec![Ref::Id(task.id)]),
                    task.completed == Some(false),
                ),
                "add_task" => self.delete(&Target::Refs(vec![Ref::Id(task.id)])),
                "update_task" => self.rename_back(&change, &task),
                _ => self.say("A deleted task cannot be brought back, but you can tell me to add it again."),
            }
        }
    }

    fn rename_back(&mut self, change: &Done, task: &Seen) {
        let now = task.title.as_deref().unwrap_or_default();
        let titles = self.context.titles.iter().rev();
        let before = titles
            .filter(|(id, title)| *id == task.id && title != now)
            .map(|(_, title)| title.clone())
            .next();
        match before.filter(|_| change.arguments.get("title").is_some()) {
            Some(before) => self.rename(&Target::Refs(vec![Ref::Id(task.id)]), Some(&before)),
            None => self.say(format!(
                "I no longer know what task {} was like before. Tell me, and I change it.",
                task.id
            )),
        }
    }

    fn ask_again(&mut self) {
        self.say("I did not understand that.");
        if let Some(question) = self
            .dialogue
            .past
            .last()
            .and_then(|turn| Pending::find(&turn.said))
        {
            self.ask(question);
        }
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
