//! A chat with the demo model. Implements the five tools on a list in memory.

use errand_fake_model::{
    Answer, Call,
    wire::{ChatRequest, FunctionSpec, Message, Tool, ToolCall},
};
use errand_model::answer;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) completed: bool,
}

#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) request: ChatRequest,
    pub(crate) tasks: Vec<Task>,
    next_id: i64,
    /// The calls of the last turn, in short form.
    pub(crate) calls: Vec<String>,
}

impl Chat {
    pub(crate) fn new(titles: &[&str]) -> Self {
        let tool = |name: &str| Tool {
            kind: "function".into(),
            function: FunctionSpec {
                name: name.into(),
                description: None,
                parameters: None,
            },
        };
        let names = [
            "add_task",
            "list_tasks",
            "complete_task",
            "update_task",
            "delete_task",
        ];
        let mut chat = Self {
            request: ChatRequest {
                tools: Some(names.map(tool).into()),
                ..ChatRequest::default()
            },
            tasks: Vec::new(),
            next_id: 1,
            calls: Vec::new(),
        };
        for title in titles {
            // A leading "[x]" marks a completed task.
            let (completed, title) = title
                .strip_prefix("[x] ")
                .map_or((false, *title), |title| (true, title));
            chat.add(title, "");
            chat.tasks.last_mut().unwrap().completed = completed;
        }
        chat
    }

    fn add(&mut self, title: &str, description: &str) -> Value {
        let task = Task {
            id: self.next_id,
            title: title.into(),
            description: description.into(),
            completed: false,
        };
        self.next_id += 1;
        self.tasks.push(task.clone());
        json(&task)
    }

    /// Sends a user message and returns the first answer.
    pub(crate) fn first(&mut self, text: &str) -> Answer {
        self.request.messages.push(Message::new("user", text));
        answer(&self.request)
    }

    /// Sends a user message, executes all tool calls and returns the reply.
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.calls.clear();
        let mut next = self.first(text);
        for step in 0..10 {
            match next {
                Answer::Text(reply) => {
                    self.request.messages.push(Message::new("assistant", &reply));
                    return reply;
                }
                Answer::ToolCalls(calls) => {
                    assert!((1..=16).contains(&calls.len()), "{text}: {calls:?}");
                    self.run(step, &calls);
                }
            }
            next = answer(&self.request);
        }
        panic!("{text}: too many steps: {:?}", self.calls);
    }

    fn run(&mut self, step: usize, calls: &[Call]) {
        let at = self.request.messages.len();
        let id = |n: usize| format!("call_{at}_{step}_{n}");
        let numbered = calls.iter().enumerate();
        let calls_made =
            numbered.map(|(n, call)| ToolCall::new(id(n), call.name.clone(), call.arguments.to_string()));
        self.request.messages.push(Message {
            tool_calls: Some(calls_made.collect()),
            ..Message::new("assistant", "")
        });
        for (n, call) in calls.iter().enumerate() {
            self.calls.push(short(call));
            let result = self.tool(&call.name, &call.arguments);
            let message = Message::new("tool", &result.to_string());
            self.request.messages.push(Message {
                tool_call_id: Some(id(n)),
                ..message
            });
        }
    }

    fn tool(&mut self, name: &str, arguments: &Value) -> Value {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str);
        let id = arguments.get("task_id").and_then(Value::as_i64);
        let at = self.tasks.iter().position(|task| Some(task.id) == id);
        match (name, at) {
            ("add_task", _) => {
                let title = text("title").unwrap();
                assert!((1..=255).contains(&title.chars().count()), "{title}");
                let task = self.add(title, text("description").unwrap_or_default());
                json!({"success": true, "task": task, "message": "added"})
            }
            ("list_tasks", _) => self.list(arguments),
            (_, None) => {
                json!({"success": false, "error": format!("TASK_NOT_FOUND: {id:?}"), "message": "no such task"})
            }
            ("complete_task", Some(at)) => {
                self.tasks[at].completed = arguments
                    .get("completed")
                    .and_then(Value::as_bool)
                    .unwrap_or(true);
                json!({"success": true, "task": json(&self.tasks[at]), "message": "ok"})
            }
            ("update_task", Some(at)) => {
                let task = &mut self.tasks[at];
                task.title = text("title").unwrap_or(&task.title).to_owned();
                task.description = text("description").unwrap_or(&task.description).to_owned();
                json!({"success": true, "task": json(task), "message": "ok"})
            }
            ("delete_task", Some(at)) => {
                let task = self.tasks.remove(at);
                json!({"success": true, "deleted_task": {"id": task.id, "title": task.title}, "message": "ok"})
            }
            _ => panic!("unknown tool {name}"),
        }
    }

    fn list(&self, arguments: &Value) -> Value {
        let search = arguments
            .get("search")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_lowercase();
        let completed = arguments.get("completed").and_then(Value::as_bool);
        let number = |name: &str, default: usize| {
            arguments
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(default)
        };
        let found: Vec<Value> = self
            .tasks
            .iter()
            .filter(|task| completed.is_none_or(|completed| task.completed == completed))
            .filter(|task| {
                task.title.to_lowercase().contains(&search)
                    || task.description.to_lowercase().contains(&search)
            })
            .map(json)
            .collect();
        let page: Vec<&Value> = found
            .iter()
            .skip(number("offset", 0))
            .take(number("limit", 50))
            .collect();
        json!({"success": true, "tasks": page, "total": found.len(), "message": "ok"})
    }

    /// The list in short form: `1 milk`, `2 bread (x)`, `3 tea: green`.
    pub(crate) fn state(&self) -> Vec<String> {
        let line = |task: &Task| {
            let done = if task.completed { " (x)" } else { "" };
            let description = if task.description.is_empty() {
                String::new()
            } else {
                format!(": {}", task.description)
            };
            format!("{} {}{description}{done}", task.id, task.title)
        };
        self.tasks.iter().map(line).collect()
    }
}

fn json(task: &Task) -> Value {
    json!({
        "id": task.id, "title": task.title, "description": task.description, "completed": task.completed,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    })
}

/// A call in short form: `add milk`, `add milk | 2 litres`, `list pending ?milk`, `done 1`, `title 2 y`.
pub(crate) fn short(call: &Call) -> String {
    let arguments = &call.arguments;
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let id = arguments
        .get("task_id")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    match call.name.as_str() {
        "add_task" => match text("description") {
            Some(description) => format!("add {} | {description}", text("title").unwrap()),
            None => format!("add {}", text("title").unwrap()),
        },
        "list_tasks" => {
            let mut short = "list".to_owned();
            match arguments.get("completed").and_then(Value::as_bool) {
                Some(true) => short.push_str(" done"),
                Some(false) => short.push_str(" pending"),
                None => {}
            }
            for (name, mark) in [("limit", " #"), ("offset", " +")] {
                if let Some(number) = arguments.get(name) {
                    short = format!("{short}{mark}{number}");
                }
            }
            if let Some(search) = text("search") {
                short = format!("{short} ?{search}");
            }
            short
        }
        "complete_task" if arguments.get("completed") == Some(&json!(false)) => format!("reopen {id}"),
        "complete_task" => format!("done {id}"),
        "update_task" => match (text("title"), text("description")) {
            (Some(title), None) => format!("title {id} {title}"),
            (None, Some(description)) => format!("describe {id} {description}"),
            _ => format!("update {arguments}"),
        },
        "delete_task" => format!("delete {id}"),
        other => panic!("unknown tool {other}"),
    }
}
