//! Executes tools. Each call is one statement in the caller's transaction.

use std::borrow::Cow;

use errand_shared::{
    Uuid,
    storage::tasks::{self, Change, Filter, NewTask, Task},
};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::{
    arguments::{Arguments, required},
    failure::{CallError, Failure},
    outcome::{DeletedTask, DeletedTaskResult, TaskListResult, TaskResult, ToolOutcome},
    rules, spec,
};

/// Maximum length of an unknown tool's name in the error message, in characters.
const MAX_NAME_CHARS: usize = 100;

/// Calls a tool for a user, with at most one statement. Invalid arguments, a missing task and an unknown tool are outcomes,
/// not errors. A `user_id` among the arguments is ignored.
///
/// # Errors
/// If Postgres fails. The caller must roll back and can answer with [`internal_error`](crate::internal_error).
pub async fn call(
    conn: &mut PgConnection,
    user_id: Uuid,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolOutcome, sqlx::Error> {
    let arguments = Arguments(arguments);
    let result = match name {
        spec::ADD => add(conn, user_id, arguments).await,
        spec::LIST => list(conn, user_id, arguments).await,
        spec::COMPLETE => complete(conn, user_id, arguments).await,
        spec::UPDATE => update(conn, user_id, arguments).await,
        spec::DELETE => delete(conn, user_id, arguments).await,
        _ => {
            let known: Vec<&str> = spec::specs().iter().map(|spec| spec.name).collect();
            Err(unknown(name, &known).into())
        }
    };
    match result {
        Ok(outcome) => Ok(outcome),
        Err(CallError::Failed(failure)) => Ok(ToolOutcome::failure(&failure)),
        Err(CallError::Database(error)) => Err(error),
    }
}

/// The validated arguments of `add_task`.
pub(crate) struct Addition<'a> {
    title: Cow<'a, str>,
    description: Option<Cow<'a, str>>,
}

impl<'a> Addition<'a> {
    pub(crate) fn parse(arguments: Arguments<'a>) -> Result<Self, Failure> {
        let title = required("title", arguments.text("title")?)?;
        rules::title(&title)?;
        let description = arguments.text("description")?;
        description.as_deref().map(rules::description).transpose()?;
        Ok(Self { title, description })
    }

    pub(crate) fn task(&self, user_id: Uuid) -> NewTask<'_> {
        NewTask {
            user_id,
            title: &self.title,
            description: self.description.as_deref(),
        }
    }

    pub(crate) fn outcome(task: Task) -> Result<ToolOutcome, sqlx::Error> {
        let message = format!("Added task {}: {}", task.id, task.title);
        ToolOutcome::success(&TaskResult {
            success: true,
            task,
            message,
        })
    }
}

async fn add(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, CallError> {
    let addition = Addition::parse(arguments)?;
    let added = tasks::add_all(conn, &[addition.task(user_id)]).await?;
    let task = added.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Addition::outcome(task)?)
}

async fn list(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, CallError> {
    let search = arguments.text("search")?;
    let search = search.as_deref().map(rules::search).transpose()?.flatten();
    let filter = Filter {
        completed: arguments.boolean("completed")?,
        search,
    };
    let limit = rules::limit(arguments.integer("limit")?)?;
    let offset = rules::offset(arguments.integer("offset")?)?;
    let (tasks, total) = tasks::list(conn, user_id, filter, limit, offset).await?;
    let noun = if total == 1 { "task" } else { "tasks" };
    let message = match i64::try_from(tasks.len()) {
        Ok(shown) if shown == total => format!("Found {total} {noun}."),
        _ => format!("Found {total} {noun}; this page shows {}.", tasks.len()),
    };
    Ok(ToolOutcome::success(&TaskListResult {
        success: true,
        tasks,
        total,
        message,
    })?)
}

async fn complete(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, CallError> {
    let id = task_id(arguments)?;
    let completed = arguments.boolean("completed")?.unwrap_or(true);
    let task = found(id, tasks::set_completed(conn, user_id, id, completed).await?)?;
    let state = if completed { "completed" } else { "open" };
    let message = format!("Task {} is now {state}: {}", task.id, task.title);
    Ok(ToolOutcome::success(&TaskResult {
        success: true,
        task,
        message,
    })?)
}

async fn update(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, CallError> {
    let id = task_id(arguments)?;
    let title = arguments.text("title")?;
    let title = title.as_deref().map(rules::title).transpose()?;
    let description = arguments.text("description")?;
    let description = description.as_deref().map(rules::description).transpose()?;
    if title.is_none() && description.is_none() {
        return Err(Failure::NothingToChange.into());
    }
    let change = Change {
        title,
        description,
        completed: None,
    };
    let task = found(id, tasks::update(conn, user_id, id, change).await?)?;
    let message = format!("Updated task {}: {}", task.id, task.title);
    Ok(ToolOutcome::success(&TaskResult {
        success: true,
        task,
        message,
    })?)
}

async fn delete(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, CallError> {
    let id = task_id(arguments)?;
    let task = found(id, tasks::delete(conn, user_id, id).await?)?;
    let message = format!("Deleted task {}: {}", task.id, task.title);
    let deleted_task = DeletedTask {
        id: task.id,
        title: task.title,
    };
    Ok(ToolOutcome::success(&DeletedTaskResult {
        success: true,
        deleted_task,
        message,
    })?)
}

fn task_id(arguments: Arguments<'_>) -> Result<i64, CallError> {
    Ok(rules::task_id(required(
        "task_id",
        arguments.integer("task_id")?,
    )?)?)
}

fn found(id: i64, task: Option<Task>) -> Result<Task, Failure> {
    task.ok_or(Failure::TaskNotFound(id))
}

/// The outcome of a call to a tool that isn't available. `known` lists the available tools.
pub fn unknown_tool(name: &str, known: &[&str]) -> ToolOutcome {
    ToolOutcome::failure(&unknown(name, known))
}

fn unknown(name: &str, known: &[&str]) -> Failure {
    let name = name
        .chars()
        .filter(|char| *char != '\0')
        .take(MAX_NAME_CHARS)
        .collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Failure::UnknownTool { name, known }
}
