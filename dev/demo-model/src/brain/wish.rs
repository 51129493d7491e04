//! What each wish needs: its calls, the looks at the list before them, the questions.

use serde_json::{Map, Value, json};

use super::{
    action::{Action, NewTask, Query, Ref, Talk, Target},
    dialogue::{Done, Seen},
    pending::{Pending, Verb},
    plan::Planner,
    reply,
    title::fit,
};

impl Planner<'_> {
    /// One wish: calls what it needs, or takes up what came back.
    pub(super) fn wish(&mut self, action: Action) {
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
                if let (Some(new), Some(object)) = (fit(title, None), arguments.as_object_mut())
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
