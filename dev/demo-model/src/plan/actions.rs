//! Plans each kind of action: the lookups, tool calls and questions that it needs.

use serde_json::{Map, Value, json};

use super::Planner;
use crate::{
    action::{Action, NewTask, Query, Ref, SmallTalk, Target},
    dialogue::{
        ExecutedCall, KnownTask,
        question::{Question, Verb},
    },
    parse::title::fit,
    reply,
};

impl Planner<'_> {
    /// Plans one action: its calls or, if they have results, its part of the reply.
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::Add(new) if new.is_empty() => self.ask(Question::NewTitle),
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
                    self.call("delete_task", json!({"task_id": id}));
                }
            }
            Action::Undo => self.undo(),
            Action::Change(target) => self.change(&target),
            Action::SmallTalk(SmallTalk::MaybeAdd) => self.ask(Question::MaybeAdd),
            Action::SmallTalk(SmallTalk::AskAgain) => self.ask_again(),
            Action::SmallTalk(kind) => {
                let reply = self.small_talk(kind);
                self.add_line(reply);
            }
        }
    }

    fn add(&mut self, new: &[NewTask]) {
        let mut added = Vec::new();
        for task in new {
            let mut arguments = json!({"title": task.title});
            if let (Some(object), Some(description)) = (arguments.as_object_mut(), &task.description) {
                object.insert("description".to_owned(), json!(description));
            }
            added.extend(self.call("add_task", arguments));
        }
        self.last_tasks = (added.len() == new.len()).then_some(added);
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
        self.call("list_tasks", Value::Object(arguments));
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
        let Some(tasks) = self.with_details(tasks) else {
            return;
        };
        for task in &tasks {
            self.add_line(reply::task_details(task));
        }
        self.last_tasks = Some(tasks);
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
            self.call("complete_task", arguments);
        }
        self.last_tasks = Some(tasks);
    }

    fn rename(&mut self, target: &Target, title: Option<&str>) {
        let Some(tasks) = self.resolve(target, Verb::Rename) else {
            return;
        };
        match (tasks.as_slice(), title) {
            ([task], Some(title)) => {
                let mut arguments = json!({"task_id": task.id, "title": title});
                if let (Some(new), Some(object)) = (fit(title, None), arguments.as_object_mut())
                    && let Some(whole) = new.description
                {
                    object.insert("title".to_owned(), json!(new.title));
                    object.insert("description".to_owned(), json!(whole));
                }
                self.call("update_task", arguments);
            }
            ([task], None) => self.ask(Question::Title(task.id)),
            ([], _) => {}
            _ => self.ask(Question::Which(Verb::Rename, tasks.clone())),
        }
        self.last_tasks = Some(tasks);
    }

    fn describe(&mut self, target: &Target, text: Option<&str>) {
        let Some(tasks) = self.resolve(target, Verb::Describe) else {
            return;
        };
        match (tasks.as_slice(), text) {
            (many, Some(text)) => {
                for task in many {
                    self.call("update_task", json!({"task_id": task.id, "description": text}));
                }
            }
            ([task, ..], None) => self.ask(Question::Description(task.id)),
            ([], None) => {}
        }
        self.last_tasks = Some(tasks);
    }

    /// Appends `text` to the descriptions.
    fn append(&mut self, target: &Target, text: &str) {
        let Some(tasks) = self.resolve(target, Verb::Describe) else {
            return;
        };
        let Some(tasks) = self.with_details(tasks) else {
            return;
        };
        for task in &tasks {
            let whole = match &task.description {
                Some(current) => format!("{current}\n{text}"),
                None => text.to_owned(),
            };
            self.call("update_task", json!({"task_id": task.id, "description": whole}));
        }
        self.last_tasks = Some(tasks);
    }

    fn delete(&mut self, target: &Target) {
        let Some(tasks) = self.resolve(target, Verb::Delete) else {
            return;
        };
        let Some(tasks) = self.with_details(tasks) else {
            return;
        };
        for task in tasks {
            if !self.deletions.iter().any(|other| other.id == task.id) {
                self.deletions.push(task);
            }
        }
        self.last_tasks = Some(self.deletions.clone());
    }

    fn change(&mut self, target: &Target) {
        let Some(tasks) = self.resolve(target, Verb::Change) else {
            return;
        };
        if let Some(task) = tasks.first() {
            self.ask(Question::Title(task.id));
        }
    }

    /// Undoes the last changes.
    fn undo(&mut self) {
        let changes = std::mem::take(&mut self.context.last_changes);
        if changes.is_empty() {
            return self.add_line("There's nothing to undo.");
        }
        for change in changes {
            let Some(task) = change.task() else { continue };
            match change.name.as_str() {
                "complete_task" => self.set_done(
                    &Target::Refs(vec![Ref::Id(task.id)]),
                    task.completed == Some(false),
                ),
                "add_task" => self.delete(&Target::Refs(vec![Ref::Id(task.id)])),
                "update_task" => self.undo_rename(&change, &task),
                _ => self.add_line("I can't restore a deleted task, but I can add it again."),
            }
        }
    }

    fn undo_rename(&mut self, change: &ExecutedCall, task: &KnownTask) {
        let current = task.title.as_deref().unwrap_or_default();
        let titles = self.context.titles.iter().rev();
        let previous = titles
            .filter(|(id, title)| *id == task.id && title != current)
            .map(|(_, title)| title.clone())
            .next();
        match previous.filter(|_| change.arguments.get("title").is_some()) {
            Some(previous) => self.rename(&Target::Refs(vec![Ref::Id(task.id)]), Some(&previous)),
            None => self.add_line(format!(
                "I don't remember how task {} was before, so I can't undo that.",
                task.id
            )),
        }
    }

    fn ask_again(&mut self) {
        self.add_line("I didn't understand that.");
        if let Some(question) = self
            .dialogue
            .past
            .last()
            .and_then(|turn| Question::find(&turn.reply))
        {
            self.ask(question);
        }
    }
}
