//! The transcript as turns: what was said, what was called, what came back, and what "it" and "the first" may mean.

use serde_json::Value;

use super::pending::listed;
use crate::wire::{ChatRequest, Message};

/// A tool call and its result.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) name: String,
    pub(super) arguments: Value,
    /// The result, if it came and is JSON.
    pub(super) result: Option<Value>,
}

impl Done {
    /// Whether the tool said that it succeeded.
    pub(super) fn succeeded(&self) -> bool {
        self.result
            .as_ref()
            .is_some_and(|result| result.get("success") == Some(&Value::Bool(true)))
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.result.as_ref()?.get(name)
    }

    /// The one task that the result is about.
    pub(super) fn task(&self) -> Option<Seen> {
        self.member("task")
            .or_else(|| self.member("deleted_task"))
            .and_then(Seen::from_json)
    }

    /// The tasks that the result lists.
    pub(super) fn tasks(&self) -> Vec<Seen> {
        let tasks = self.member("tasks").and_then(Value::as_array);
        tasks.into_iter().flatten().filter_map(Seen::from_json).collect()
    }

    /// How many tasks there are in all, listed or not.
    pub(super) fn total(&self) -> i64 {
        self.member("total").and_then(Value::as_i64).unwrap_or_default()
    }
}

/// A task as a tool result or an earlier reply showed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: i64,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) completed: Option<bool>,
}

impl Seen {
    /// A task of which only the number is known.
    pub(super) fn numbered(id: i64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn from_json(task: &Value) -> Option<Self> {
        let text = |name| task.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            id: task.get("id")?.as_i64()?,
            title: text("title"),
            description: text("description").filter(|text| !text.is_empty()),
            completed: task.get("completed").and_then(Value::as_bool),
        })
    }
}

/// A user message and what followed it.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    pub(super) user: String,
    pub(super) done: Vec<Done>,
    /// How many assistant messages asked for tools.
    pub(super) steps: usize,
    /// The assistant's last words.
    pub(super) said: String,
}

/// The transcript.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    pub(super) system: String,
    /// The turns before the last user message.
    pub(super) past: Vec<Turn>,
    /// The last user message, and what was done about it so far.
    pub(super) now: Turn,
}

impl Dialogue {
    /// Reads a transcript.
    pub(super) fn read(request: &ChatRequest) -> Self {
        let mut dialogue = Self::default();
        let mut ids: Vec<(String, usize)> = Vec::new();
        let mut started = false;
        for message in &request.messages {
            match message.role.as_str() {
                "system" | "developer" => {
                    dialogue.system.push_str(&message.text());
                    dialogue.system.push('\n');
                }
                "user" => {
                    let before = std::mem::take(&mut dialogue.now);
                    if started {
                        dialogue.past.push(before);
                    }
                    started = true;
                    dialogue.now.user = message.text().into_owned();
                    ids.clear();
                }
                "assistant" => {
                    started = true;
                    asked(&mut dialogue.now, message, &mut ids);
                }
                _ => answered(&mut dialogue.now, message, &ids),
            }
        }
        dialogue
    }

    /// What the turns before leave to be pointed at.
    pub(super) fn context(&self) -> Context {
        let mut context = Context::default();
        for turn in &self.past {
            context.follow(turn);
        }
        context
    }
}

fn asked(turn: &mut Turn, message: &Message, ids: &mut Vec<(String, usize)>) {
    if message.calls().is_empty() {
        turn.said = message.text().into_owned();
        return;
    }
    turn.steps += 1;
    for call in message.calls() {
        ids.push((call.id.clone(), turn.done.len()));
        turn.done.push(Done {
            name: call.function.name.clone(),
            arguments: serde_json::from_str(&call.function.arguments).unwrap_or_default(),
            result: None,
        });
    }
}

fn answered(turn: &mut Turn, message: &Message, ids: &[(String, usize)]) {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    // The newest first, for a careless caller may use an id again in a later step.
    let at = ids.iter().rev().find(|(asked, _)| asked == id).map(|(_, at)| *at);
    if let Some(done) = at.and_then(|at| turn.done.get_mut(at)) {
        done.result = serde_json::from_str(&message.text()).ok();
    }
}

/// What earlier turns leave to be pointed at.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The tasks as the user last saw them in a list, and those added since.
    pub(super) shown: Vec<Seen>,
    /// The tasks last spoken of.
    pub(super) focus: Vec<Seen>,
    /// The list that was shown last, for "more".
    pub(super) last_list: Option<Done>,
    /// The changes of the last turn that made any.
    pub(super) last_changes: Vec<Done>,
    /// Every title seen, oldest first.
    pub(super) titles: Vec<(i64, String)>,
}

impl Context {
    fn follow(&mut self, turn: &Turn) {
        let lines = listed(&turn.said);
        let changes: Vec<&Done> = turn
            .done
            .iter()
            .filter(|done| done.name != "list_tasks" && done.succeeded())
            .collect();
        let lists: Vec<&Done> = turn
            .done
            .iter()
            .filter(|done| done.name == "list_tasks" && done.succeeded())
            .collect();
        for seen in turn
            .done
            .iter()
            .flat_map(|done| done.tasks().into_iter().chain(done.task()))
        {
            self.titles.extend(seen.title.map(|title| (seen.id, title)));
        }
        if let (Some(list), false) = (lists.last(), lines.is_empty()) {
            self.last_list = Some((*list).clone());
        }
        let touched: Vec<Seen> = changes.iter().filter_map(|done| done.task()).collect();
        if !lines.is_empty() {
            self.shown.clone_from(&lines);
        } else if let (Some(list), true) = (lists.last(), changes.is_empty() && turn.said.is_empty()) {
            self.shown = list.tasks();
        }
        let added: Vec<Seen> = changes
            .iter()
            .filter(|done| done.name == "add_task")
            .filter_map(|done| done.task())
            .collect();
        if added.len() > 1 {
            self.shown.clear();
        }
        self.shown.extend(added);
        let deleted: Vec<i64> = changes
            .iter()
            .filter(|done| done.name == "delete_task")
            .filter_map(|done| done.task().map(|task| task.id))
            .collect();
        self.shown.retain(|seen| !deleted.contains(&seen.id));
        let spoken = if !touched.is_empty() {
            touched
        } else if !lines.is_empty() {
            lines
        } else {
            mentioned(&turn.said)
        };
        if !spoken.is_empty() {
            self.focus = spoken
                .into_iter()
                .filter(|seen| !deleted.contains(&seen.id))
                .collect();
        }
        if !changes.is_empty() {
            self.last_changes = changes.into_iter().cloned().collect();
        }
    }
}

/// The tasks that a reply names by number: "task 3".
fn mentioned(said: &str) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    let lower = said.to_lowercase();
    for after in lower.split("task ").skip(1) {
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(id) = digits.parse()
            && !seen.iter().any(|known| known.id == id)
        {
            seen.push(Seen::numbered(id));
        }
    }
    seen
}
