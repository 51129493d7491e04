//! Resolves a target to tasks: by number, position, pronoun or title. Looks up the list if necessary.

use serde_json::json;

use super::{
    Planner,
    matching::{best_matches, is_similar},
};
use crate::{
    action::{Ref, Target},
    dialogue::{
        ExecutedCall, KnownTask,
        question::{Question, Verb, quoted},
    },
    reply,
};

/// The largest page of `list_tasks`.
const PAGE: i64 = 100;

/// The result of resolving one reference.
enum Found {
    Tasks(Vec<KnownTask>),
    /// A lookup has no result yet.
    Waiting,
    /// No task. The reply says so or asks.
    Settled,
}

impl Planner<'_> {
    /// Returns the tasks, or `None` if a lookup has no result yet.
    pub(crate) fn resolve(&mut self, target: &Target, verb: Verb) -> Option<Vec<KnownTask>> {
        let no_lookup = !self.request.offers("list_tasks");
        let found = match target {
            Target::All(_) if no_lookup => {
                self.ask(Question::Which(verb, Vec::new()));
                return Some(Vec::new());
            }
            Target::Refs(refs)
                if no_lookup
                    && refs
                        .iter()
                        .any(|reference| matches!(reference, Ref::Name(_) | Ref::Nth(_))) =>
            {
                self.add_line("I can't look up your list, so I need the number.");
                self.ask(Question::Which(verb, Vec::new()));
                return Some(Vec::new());
            }
            Target::Missing => {
                self.ask(Question::Which(verb, Vec::new()));
                return Some(Vec::new());
            }
            Target::All(state) => vec![self.all(*state, verb)],
            Target::Refs(refs) => refs
                .iter()
                .map(|reference| self.resolve_ref(reference, verb))
                .collect(),
        };
        let mut tasks: Vec<KnownTask> = Vec::new();
        let mut waiting = false;
        for found in found {
            match found {
                Found::Tasks(found) => {
                    for task in found {
                        if !tasks.iter().any(|other| other.id == task.id) {
                            tasks.push(task);
                        }
                    }
                }
                Found::Waiting => waiting = true,
                Found::Settled => {}
            }
        }
        if waiting {
            self.last_tasks = None;
            return None;
        }
        Some(tasks)
    }

    /// Adds title, description and state to the tasks, or returns `None` if the lookup has no result yet. Omits numbers that
    /// don't exist and mentions them in the reply.
    pub(crate) fn with_details(&mut self, tasks: Vec<KnownTask>) -> Option<Vec<KnownTask>> {
        if tasks.iter().all(|task| task.completed.is_some()) || !self.request.offers("list_tasks") {
            return Some(tasks);
        }
        let page = self.list_tasks(&json!({"limit": PAGE}))?;
        let listed = page.tasks();
        let complete = page.succeeded() && page.total() <= i64::try_from(listed.len()).unwrap_or(i64::MAX);
        let mut detailed = Vec::new();
        for task in tasks {
            match listed.iter().find(|listed| listed.id == task.id) {
                Some(listed) => detailed.push(listed.clone()),
                None if complete => self.add_line(format!("I couldn't find task {}.", task.id)),
                None => detailed.push(task),
            }
        }
        Some(detailed)
    }

    fn all(&mut self, state: Option<bool>, verb: Verb) -> Found {
        let state = state.or(match verb {
            Verb::Complete => Some(false),
            Verb::Reopen => Some(true),
            _ => None,
        });
        let arguments = match state {
            Some(completed) => json!({"completed": completed, "limit": PAGE}),
            None => json!({"limit": PAGE}),
        };
        let Some(page) = self.list_tasks(&arguments) else {
            return Found::Waiting;
        };
        let tasks = page.tasks();
        if tasks.is_empty() {
            let kind = state.map_or("", |done| if done { "completed " } else { "pending " });
            self.report_nothing(page, &format!("You have no {kind}tasks."));
            return Found::Settled;
        }
        Found::Tasks(tasks)
    }

    fn resolve_ref(&mut self, reference: &Ref, verb: Verb) -> Found {
        match reference {
            Ref::Id(id) => Found::Tasks(vec![KnownTask::with_id(*id)]),
            Ref::Nth(nth) => self.nth(*nth),
            Ref::It | Ref::Them => self.mentioned(*reference == Ref::Them, verb),
            Ref::Other => {
                let focus = self.context.focus.clone();
                let others: Vec<KnownTask> = self
                    .context
                    .shown
                    .iter()
                    .filter(|task| !focus.iter().any(|other| other.id == task.id))
                    .cloned()
                    .collect();
                if others.len() == 1 {
                    Found::Tasks(ids_only(&others))
                } else {
                    self.ask_which(verb, others)
                }
            }
            Ref::Name(name) => self.by_title(name, verb),
        }
    }

    /// Resolves "it" and "them": the tasks mentioned earlier in this message or else in earlier turns.
    fn mentioned(&mut self, many: bool, verb: Verb) -> Found {
        let tasks = match &self.last_tasks {
            None => return Found::Waiting,
            Some(tasks) if !tasks.is_empty() => tasks.clone(),
            Some(_) => self.context.focus.clone(),
        };
        match tasks.as_slice() {
            [] => self.ask_which(verb, Vec::new()),
            [one] => Found::Tasks(ids_only(std::slice::from_ref(one))),
            all if many => Found::Tasks(ids_only(all)),
            _ => self.ask_which(verb, tasks),
        }
    }

    fn nth(&mut self, nth: i64) -> Found {
        let list = if self.context.shown.is_empty() {
            let Some(page) = self.list_tasks(&json!({"limit": PAGE})) else {
                return Found::Waiting;
            };
            if !page.succeeded() {
                self.report_nothing(page, "");
                return Found::Settled;
            }
            page.tasks()
        } else {
            self.context.shown.clone()
        };
        let at = usize::try_from(nth.unsigned_abs())
            .ok()
            .and_then(|nth| nth.checked_sub(1));
        let found = if nth > 0 {
            at.and_then(|at| list.get(at))
        } else {
            at.and_then(|at| list.iter().rev().nth(at))
        };
        if let Some(task) = found {
            return Found::Tasks(ids_only(std::slice::from_ref(task)));
        }
        self.add_line(if list.is_empty() {
            "You have no tasks."
        } else {
            "The list isn't that long."
        });
        Found::Settled
    }

    /// Finds a task by words from its title. Searches for the whole text, then for each part of a list of titles, then
    /// compares the words with all titles.
    fn by_title(&mut self, name: &str, verb: Verb) -> Found {
        let Some(page) = self.list_tasks(&search(name)) else {
            return Found::Waiting;
        };
        let found = best_matches(page.tasks(), name, verb);
        if !found.is_empty() || !page.succeeded() {
            if found.is_empty() {
                self.report_nothing(page, "");
            }
            return self.choose(name, found, verb);
        }
        let parts: Vec<&str> = name
            .split(',')
            .flat_map(|part| part.split(" and "))
            .map(str::trim)
            .filter(|p| !p.is_empty())
            .collect();
        if parts.len() > 1 {
            let pages: Vec<Option<&ExecutedCall>> =
                parts.iter().map(|part| self.list_tasks(&search(part))).collect();
            if pages.iter().any(Option::is_none) {
                return Found::Waiting;
            }
            let found: Vec<Vec<KnownTask>> = pages
                .iter()
                .flatten()
                .zip(&parts)
                .map(|(page, part)| best_matches(page.tasks(), part, verb))
                .collect();
            if found.iter().any(|found| !found.is_empty()) {
                return self.by_titles(&parts, found, verb);
            }
        }
        let Some(page) = self.list_tasks(&json!({"limit": PAGE})) else {
            return Found::Waiting;
        };
        let similar = page
            .tasks()
            .into_iter()
            .filter(|task| is_similar(name, task))
            .collect();
        let found = best_matches(similar, name, verb);
        if found.is_empty() {
            self.report_nothing(
                page,
                &format!("I couldn't find a task that matches {}.", quoted(name)),
            );
            return Found::Settled;
        }
        self.choose(name, found, verb)
    }

    /// Combines the tasks found for several titles.
    fn by_titles(&mut self, names: &[&str], found: Vec<Vec<KnownTask>>, verb: Verb) -> Found {
        let mut tasks = Vec::new();
        for (name, found) in names.iter().zip(found) {
            if found.is_empty() {
                self.add_line(format!("I couldn't find a task that matches {}.", quoted(name)));
            } else if let Found::Tasks(found) = self.choose(name, found, verb) {
                tasks.extend(found);
            }
        }
        Found::Tasks(tasks)
    }

    fn choose(&mut self, name: &str, found: Vec<KnownTask>, verb: Verb) -> Found {
        match found.len() {
            0 => Found::Settled,
            1 => Found::Tasks(found),
            _ => {
                self.add_line(format!("{} tasks match {}.", found.len(), quoted(name)));
                self.ask_which(verb, found)
            }
        }
    }

    fn ask_which(&mut self, verb: Verb, tasks: Vec<KnownTask>) -> Found {
        self.ask(Question::Which(verb, tasks));
        Found::Settled
    }

    /// Adds `text` to the reply, or the error if the lookup failed.
    fn report_nothing(&mut self, page: &ExecutedCall, text: &str) {
        if page.succeeded() {
            self.add_line(text);
        } else {
            self.add_line(reply::describe_result(page));
        }
    }
}

fn search(name: &str) -> serde_json::Value {
    json!({"search": name.chars().take(255).collect::<String>()})
}

/// Reduces tasks to their IDs, because other details may have changed since they were shown.
fn ids_only(tasks: &[KnownTask]) -> Vec<KnownTask> {
    tasks.iter().map(|task| KnownTask::with_id(task.id)).collect()
}
