//! The tools at work: each is one statement, in the caller's transaction.

use std::borrow::Cow;

use errand_shared::{
    Uuid,
    storage::tasks::{self, Change, Filter, NewTask, Task},
};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::{
    arguments::{Arguments, required},
    failure::{Failure, Stop},
    outcome::{Gone, GoneTask, ManyTasks, OneTask, ToolOutcome},
    rules, spec,
};

/// Characters of an unknown tool's name that are repeated back.
const ECHO_CHARS: usize = 100;

/// Calls a tool for a user. Arguments that break a rule, a task that is not there and an unknown tool are outcomes.
///
/// A `user_id` among the arguments is passed over. Exactly one statement is sent, or none.
///
/// # Errors
/// A fault of Postgres. The caller undoes what was done and may answer with [`internal_error`](crate::internal_error).
pub async fn call(
    conn: &mut PgConnection,
    user_id: Uuid,
    name: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolOutcome, sqlx::Error> {
    let arguments = Arguments(arguments);
    let called = match name {
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
    match called {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Failed(failure)) => Ok(ToolOutcome::failure(&failure)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// The checked arguments of an addition.
pub(crate) struct Addition<'a> {
    title: Cow<'a, str>,
    description: Option<Cow<'a, str>>,
}

impl<'a> Addition<'a> {
    /// Reads and checks them.
    pub(crate) fn read(arguments: Arguments<'a>) -> Result<Self, Failure> {
        let title = required("title", arguments.text("title")?)?;
        rules::title(&title)?;
        let description = arguments.text("description")?;
        description.as_deref().map(rules::description).transpose()?;
        Ok(Self { title, description })
    }

    /// The task that it adds.
    pub(crate) fn task(&self, user_id: Uuid) -> NewTask<'_> {
        NewTask {
            user_id,
            title: &self.title,
            description: self.description.as_deref(),
        }
    }

    /// What is answered once the task is there.
    pub(crate) fn outcome(task: Task) -> Result<ToolOutcome, sqlx::Error> {
        let message = format!("Added task {}: {}", task.id, task.title);
        ToolOutcome::success(&OneTask {
            success: true,
            task,
            message,
        })
    }
}

async fn add(conn: &mut PgConnection, user_id: Uuid, arguments: Arguments<'_>) -> Result<ToolOutcome, Stop> {
    let addition = Addition::read(arguments)?;
    let added = tasks::add_all(conn, &[addition.task(user_id)]).await?;
    let task = added.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Addition::outcome(task)?)
}

async fn list(conn: &mut PgConnection, user_id: Uuid, arguments: Arguments<'_>) -> Result<ToolOutcome, Stop> {
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
        _ => format!("Found {total} {noun}; {} of them are on this page.", tasks.len()),
    };
    Ok(ToolOutcome::success(&ManyTasks {
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
) -> Result<ToolOutcome, Stop> {
    let id = task_id(arguments)?;
    let completed = arguments.boolean("completed")?.unwrap_or(true);
    let task = found(id, tasks::set_completed(conn, user_id, id, completed).await?)?;
    let state = if completed { "completed" } else { "open again" };
    let message = format!("Task {} is {state}: {}", task.id, task.title);
    Ok(ToolOutcome::success(&OneTask {
        success: true,
        task,
        message,
    })?)
}

async fn update(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, Stop> {
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
    Ok(ToolOutcome::success(&OneTask {
        success: true,
        task,
        message,
    })?)
}

async fn delete(
    conn: &mut PgConnection,
    user_id: Uuid,
    arguments: Arguments<'_>,
) -> Result<ToolOutcome, Stop> {
    let id = task_id(arguments)?;
    let task = found(id, tasks::delete(conn, user_id, id).await?)?;
    let message = format!("Deleted task {}: {}", task.id, task.title);
    let deleted_task = GoneTask {
        id: task.id,
        title: task.title,
    };
    Ok(ToolOutcome::success(&Gone {
        success: true,
        deleted_task,
        message,
    })?)
}

fn task_id(arguments: Arguments<'_>) -> Result<i64, Stop> {
    Ok(rules::task_id(required(
        "task_id",
        arguments.integer("task_id")?,
    )?)?)
}

fn found(id: i64, task: Option<Task>) -> Result<Task, Failure> {
    task.ok_or(Failure::TaskNotFound(id))
}

/// The outcome of a call of a tool that its caller does not have; `known` are those that it has.
pub fn unknown_tool(name: &str, known: &[&str]) -> ToolOutcome {
    ToolOutcome::failure(&unknown(name, known))
}

fn unknown(name: &str, known: &[&str]) -> Failure {
    let name = name
        .chars()
        .filter(|char| *char != '\0')
        .take(ECHO_CHARS)
        .collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Failure::UnknownTool { name, known }
}
