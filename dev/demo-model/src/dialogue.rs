//! The transcript as turns with their tool calls and results, and the context that "it" and "the first one" refer to.

pub(crate) mod question;

use errand_fake_model::wire::{ChatRequest, Message};
use question::listed;
use serde_json::Value;

/// A tool call and its result.
#[derive(Debug, Clone)]
pub(crate) struct ExecutedCall {
    pub(crate) name: String,
    pub(crate) arguments: Value,
    /// The result. `None` if it is missing or isn't JSON.
    pub(crate) result: Option<Value>,
}

impl ExecutedCall {
    /// Whether the result reports success.
    pub(crate) fn succeeded(&self) -> bool {
        self.result
            .as_ref()
            .is_some_and(|result| result.get("success") == Some(&Value::Bool(true)))
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.result.as_ref()?.get(name)
    }

    /// The single task in the result.
    pub(crate) fn task(&self) -> Option<KnownTask> {
        self.member("task")
            .or_else(|| self.member("deleted_task"))
            .and_then(KnownTask::from_json)
    }

    /// The list of tasks in the result.
    pub(crate) fn tasks(&self) -> Vec<KnownTask> {
        let tasks = self.member("tasks").and_then(Value::as_array);
        tasks
            .into_iter()
            .flatten()
            .filter_map(KnownTask::from_json)
            .collect()
    }

    /// Number of tasks on all pages of the list.
    pub(crate) fn total(&self) -> i64 {
        self.member("total").and_then(Value::as_i64).unwrap_or_default()
    }
}

/// What is known about a task from a tool result or an earlier reply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownTask {
    pub(crate) id: i64,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) completed: Option<bool>,
}

impl KnownTask {
    /// A task of which only the ID is known.
    pub(crate) fn with_id(id: i64) -> Self {
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

/// A user message with the tool calls and the reply that followed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn {
    pub(crate) user: String,
    pub(crate) calls: Vec<ExecutedCall>,
    /// Number of assistant messages with tool calls.
    pub(crate) steps: usize,
    /// The assistant's last text.
    pub(crate) reply: String,
}

/// The transcript.
#[derive(Debug, Default)]
pub(crate) struct Dialogue {
    pub(crate) system: String,
    /// The completed turns.
    pub(crate) past: Vec<Turn>,
    /// The last user message and the calls so far.
    pub(crate) current: Turn,
}

impl Dialogue {
    pub(crate) fn read(request: &ChatRequest) -> Self {
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
                    let previous = std::mem::take(&mut dialogue.current);
                    if started {
                        dialogue.past.push(previous);
                    }
                    started = true;
                    dialogue.current.user = message.text().into_owned();
                    ids.clear();
                }
                "assistant" => {
                    started = true;
                    read_assistant(&mut dialogue.current, message, &mut ids);
                }
                _ => read_result(&mut dialogue.current, message, &ids),
            }
        }
        dialogue
    }

    /// The context after the completed turns.
    pub(crate) fn context(&self) -> Context {
        let mut context = Context::default();
        for turn in &self.past {
            context.apply(turn);
        }
        context
    }
}

fn read_assistant(turn: &mut Turn, message: &Message, ids: &mut Vec<(String, usize)>) {
    if message.calls().is_empty() {
        turn.reply = message.text().into_owned();
        return;
    }
    turn.steps += 1;
    for call in message.calls() {
        ids.push((call.id.clone(), turn.calls.len()));
        turn.calls.push(ExecutedCall {
            name: call.function.name.clone(),
            arguments: serde_json::from_str(&call.function.arguments).unwrap_or_default(),
            result: None,
        });
    }
}

fn read_result(turn: &mut Turn, message: &Message, ids: &[(String, usize)]) {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    // Search backwards: an ID may be reused in a later step.
    let at = ids
        .iter()
        .rev()
        .find(|(call_id, _)| call_id == id)
        .map(|(_, at)| *at);
    if let Some(done) = at.and_then(|at| turn.calls.get_mut(at)) {
        done.result = serde_json::from_str(&message.text()).ok();
    }
}

/// What references such as "it", "the first one" and "undo" refer to.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// The list shown last, and the tasks added since.
    pub(crate) shown: Vec<KnownTask>,
    /// The tasks mentioned last.
    pub(crate) focus: Vec<KnownTask>,
    /// The call that produced the list shown last, for "show more".
    pub(crate) last_list: Option<ExecutedCall>,
    /// The changes made by the last turn that changed anything, for "undo".
    pub(crate) last_changes: Vec<ExecutedCall>,
    /// All titles that appeared in results, oldest first. "Undo" restores titles from here.
    pub(crate) titles: Vec<(i64, String)>,
}

impl Context {
    fn apply(&mut self, turn: &Turn) {
        let lines = listed(&turn.reply);
        let changes: Vec<&ExecutedCall> = turn
            .calls
            .iter()
            .filter(|done| done.name != "list_tasks" && done.succeeded())
            .collect();
        let lists: Vec<&ExecutedCall> = turn
            .calls
            .iter()
            .filter(|done| done.name == "list_tasks" && done.succeeded())
            .collect();
        for task in turn
            .calls
            .iter()
            .flat_map(|done| done.tasks().into_iter().chain(done.task()))
        {
            self.titles.extend(task.title.map(|title| (task.id, title)));
        }
        if let (Some(list), false) = (lists.last(), lines.is_empty()) {
            self.last_list = Some((*list).clone());
        }
        let touched: Vec<KnownTask> = changes.iter().filter_map(|done| done.task()).collect();
        if !lines.is_empty() {
            self.shown.clone_from(&lines);
        } else if let (Some(list), true) = (lists.last(), changes.is_empty() && turn.reply.is_empty()) {
            self.shown = list.tasks();
        }
        let added: Vec<KnownTask> = changes
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
        self.shown.retain(|task| !deleted.contains(&task.id));
        let focus = if !touched.is_empty() {
            touched
        } else if !lines.is_empty() {
            lines
        } else {
            mentioned(&turn.reply)
        };
        if !focus.is_empty() {
            self.focus = focus
                .into_iter()
                .filter(|task| !deleted.contains(&task.id))
                .collect();
        }
        if !changes.is_empty() {
            self.last_changes = changes.into_iter().cloned().collect();
        }
    }
}

/// Tasks that a reply mentions as "task 3".
fn mentioned(reply: &str) -> Vec<KnownTask> {
    let mut tasks: Vec<KnownTask> = Vec::new();
    let lower = reply.to_lowercase();
    for after in lower.split("task ").skip(1) {
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(id) = digits.parse()
            && !tasks.iter().any(|task| task.id == id)
        {
            tasks.push(KnownTask::with_id(id));
        }
    }
    tasks
}
