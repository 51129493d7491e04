//! Finds the tasks that a target points at: by number, by place, by what was said, or by looking at the list.

use serde_json::json;

use super::{
    action::{Ref, Target},
    dialogue::{Done, Seen},
    likeness::{alike, prefer},
    pending::{Pending, Verb, quoted},
    plan::Planner,
};

/// A page of the list as large as the tool gives.
const PAGE: i64 = 100;

/// What became of one reference.
enum Found {
    Tasks(Vec<Seen>),
    /// A look at the list is under way.
    Waiting,
    /// Told or asked.
    Settled,
}

impl Planner<'_> {
    /// The tasks, or nothing while a look at the list is under way.
    pub(super) fn resolve(&mut self, target: &Target, verb: Verb) -> Option<Vec<Seen>> {
        let blind = !self.request.offers("list_tasks");
        let found = match target {
            Target::All(_) if blind => {
                self.ask(Pending::Which(verb, Vec::new()));
                return Some(Vec::new());
            }
            Target::Refs(refs)
                if blind && refs.iter().any(|one| matches!(one, Ref::Name(_) | Ref::Nth(_))) =>
            {
                self.say("I cannot look at your list here, so I need the number.");
                self.ask(Pending::Which(verb, Vec::new()));
                return Some(Vec::new());
            }
            Target::Missing => {
                self.ask(Pending::Which(verb, Vec::new()));
                return Some(Vec::new());
            }
            Target::All(state) => vec![self.all(*state, verb)],
            Target::Refs(refs) => refs.iter().map(|one| self.one(one, verb)).collect(),
        };
        let mut tasks: Vec<Seen> = Vec::new();
        let mut waiting = false;
        for found in found {
            match found {
                Found::Tasks(found) => {
                    for task in found {
                        if !tasks.iter().any(|known| known.id == task.id) {
                            tasks.push(task);
                        }
                    }
                }
                Found::Waiting => waiting = true,
                Found::Settled => {}
            }
        }
        if waiting {
            self.touched = None;
            return None;
        }
        Some(tasks)
    }

    /// The same tasks with what the list says of them, or nothing while a look is under way. Numbers that the list
    /// does not have are told and left out.
    pub(super) fn known(&mut self, tasks: Vec<Seen>) -> Option<Vec<Seen>> {
        if tasks.iter().all(|task| task.completed.is_some()) || !self.request.offers("list_tasks") {
            return Some(tasks);
        }
        let page = self.look(&json!({"limit": PAGE}))?;
        let listed = page.tasks();
        let whole = page.succeeded() && page.total() <= i64::try_from(listed.len()).unwrap_or(i64::MAX);
        let mut known = Vec::new();
        for task in tasks {
            match listed.iter().find(|listed| listed.id == task.id) {
                Some(listed) => known.push(listed.clone()),
                None if whole => self.say(format!("I could not find task {}.", task.id)),
                None => known.push(task),
            }
        }
        Some(known)
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
        let Some(page) = self.look(&arguments) else {
            return Found::Waiting;
        };
        let tasks = page.tasks();
        if tasks.is_empty() {
            let kind = state.map_or("", |done| if done { "completed " } else { "pending " });
            self.nothing(page, &format!("You have no {kind}tasks."));
            return Found::Settled;
        }
        Found::Tasks(tasks)
    }

    fn one(&mut self, one: &Ref, verb: Verb) -> Found {
        match one {
            Ref::Id(id) => Found::Tasks(vec![Seen::numbered(*id)]),
            Ref::Nth(nth) => self.nth(*nth),
            Ref::It | Ref::Them => self.spoken_of(*one == Ref::Them, verb),
            Ref::Other => {
                let focus = self.context.focus.clone();
                let others: Vec<Seen> = self
                    .context
                    .shown
                    .iter()
                    .filter(|seen| !focus.iter().any(|one| one.id == seen.id))
                    .cloned()
                    .collect();
                if others.len() == 1 {
                    Found::Tasks(bare(&others))
                } else {
                    self.which(verb, others)
                }
            }
            Ref::Name(name) => self.named(name, verb),
        }
    }

    /// "It" and "them": what this message spoke of before, or else the turns before.
    fn spoken_of(&mut self, many: bool, verb: Verb) -> Found {
        let spoken = match &self.touched {
            None => return Found::Waiting,
            Some(touched) if !touched.is_empty() => touched.clone(),
            Some(_) => self.context.focus.clone(),
        };
        match spoken.as_slice() {
            [] => self.which(verb, Vec::new()),
            [one] => Found::Tasks(bare(std::slice::from_ref(one))),
            all if many => Found::Tasks(bare(all)),
            _ => self.which(verb, spoken),
        }
    }

    fn nth(&mut self, nth: i64) -> Found {
        let list = if self.context.shown.is_empty() {
            let Some(page) = self.look(&json!({"limit": PAGE})) else {
                return Found::Waiting;
            };
            if !page.succeeded() {
                self.nothing(page, "");
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
            return Found::Tasks(bare(std::slice::from_ref(task)));
        }
        self.say(if list.is_empty() {
            "You have no tasks."
        } else {
            "The list is not that long."
        });
        Found::Settled
    }

    /// A task by words of its title: a search, then a search for each part, then a look at all for words out of order.
    fn named(&mut self, name: &str, verb: Verb) -> Found {
        let Some(page) = self.look(&search(name)) else {
            return Found::Waiting;
        };
        let found = prefer(page.tasks(), name, verb);
        if !found.is_empty() || !page.succeeded() {
            if found.is_empty() {
                self.nothing(page, "");
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
            let pages: Vec<Option<&Done>> = parts.iter().map(|part| self.look(&search(part))).collect();
            if pages.iter().any(Option::is_none) {
                return Found::Waiting;
            }
            let found: Vec<Vec<Seen>> = pages
                .iter()
                .flatten()
                .zip(&parts)
                .map(|(page, part)| prefer(page.tasks(), part, verb))
                .collect();
            if found.iter().any(|found| !found.is_empty()) {
                return self.each(&parts, found, verb);
            }
        }
        let Some(page) = self.look(&json!({"limit": PAGE})) else {
            return Found::Waiting;
        };
        let alike = page
            .tasks()
            .into_iter()
            .filter(|task| alike(name, task))
            .collect();
        let found = prefer(alike, name, verb);
        if found.is_empty() {
            self.nothing(
                page,
                &format!("I could not find a task that matches {}.", quoted(name)),
            );
            return Found::Settled;
        }
        self.choose(name, found, verb)
    }

    /// The tasks of several names.
    fn each(&mut self, names: &[&str], found: Vec<Vec<Seen>>, verb: Verb) -> Found {
        let mut tasks = Vec::new();
        for (name, found) in names.iter().zip(found) {
            if found.is_empty() {
                self.say(format!("I could not find a task that matches {}.", quoted(name)));
            } else if let Found::Tasks(found) = self.choose(name, found, verb) {
                tasks.extend(found);
            }
        }
        Found::Tasks(tasks)
    }

    fn choose(&mut self, name: &str, found: Vec<Seen>, verb: Verb) -> Found {
        match found.len() {
            0 => Found::Settled,
            1 => Found::Tasks(found),
            _ => {
                self.say(format!("{} tasks match {}.", found.len(), quoted(name)));
                self.which(verb, found)
            }
        }
    }

    fn which(&mut self, verb: Verb, tasks: Vec<Seen>) -> Found {
        self.ask(Pending::Which(verb, tasks));
        Found::Settled
    }

    /// Says that there is nothing, or that the list could not be read.
    fn nothing(&mut self, page: &Done, words: &str) {
        if page.succeeded() {
            self.say(words);
        } else {
            self.say(super::reply::told(page));
        }
    }
}

fn search(name: &str) -> serde_json::Value {
    json!({"search": name.chars().take(255).collect::<String>()})
}

/// Only the numbers: what an earlier reply showed may have changed since.
fn bare(tasks: &[Seen]) -> Vec<Seen> {
    tasks.iter().map(|task| Seen::numbered(task.id)).collect()
}
