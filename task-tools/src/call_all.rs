//! Executes the calls of several users with as few statements as their order allows.

use std::collections::HashSet;

use errand_shared::{Uuid, storage::tasks};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::{
    arguments::Arguments,
    call::{Addition, call},
    outcome::ToolOutcome,
    spec,
};

/// The user, the tool and the arguments of a call.
type Call<'a> = (Uuid, &'a str, &'a Map<String, Value>);

/// A call that has not been executed yet.
struct Waiting<'a> {
    /// Position among the outcomes.
    position: usize,
    call: Call<'a>,
    /// Present if the call adds a task.
    addition: Option<Addition<'a>>,
}

/// Executes calls, given as user, tool and arguments. Returns their outcomes in the same order.
///
/// The outcomes are those of calling [`call`] for each. Calls of one user take effect in their order. Tasks are added with
/// one statement where that order allows; every other call is a statement of its own.
///
/// # Errors
/// If Postgres fails. The caller must roll back. It can then execute the calls individually to find the one that fails.
pub async fn call_all(
    conn: &mut PgConnection,
    calls: &[(Uuid, &str, &Map<String, Value>)],
) -> Result<Vec<ToolOutcome>, sqlx::Error> {
    let mut outcomes = Vec::with_capacity(calls.len());
    let mut waiting = Vec::with_capacity(calls.len());
    for (position, call) in calls.iter().copied().enumerate() {
        let (_, name, arguments) = call;
        let addition = (name == spec::ADD).then(|| Addition::parse(Arguments(arguments)));
        match addition.transpose() {
            Ok(addition) => waiting.push(Waiting {
                position,
                call,
                addition,
            }),
            Err(failure) => outcomes.push((position, ToolOutcome::failure(&failure))),
        }
    }
    while !waiting.is_empty() {
        let (additions, rest) = leading_additions(waiting);
        outcomes.extend(add_together(conn, &additions).await?);
        // The next call of each user is now one that is not an addition.
        let mut seen = HashSet::new();
        let (next, later): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|waiting| seen.insert(waiting.call.0));
        for Waiting {
            position,
            call: (user_id, name, arguments),
            ..
        } in next
        {
            outcomes.push((position, call(conn, user_id, name, arguments).await?));
        }
        waiting = later;
    }
    outcomes.sort_unstable_by_key(|(position, _)| *position);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Splits off the additions that no other call of the same user precedes.
fn leading_additions(waiting: Vec<Waiting<'_>>) -> (Vec<Waiting<'_>>, Vec<Waiting<'_>>) {
    let mut blocked = HashSet::new();
    waiting.into_iter().partition(|waiting| {
        let (user_id, ..) = waiting.call;
        if waiting.addition.is_none() {
            blocked.insert(user_id);
        }
        !blocked.contains(&user_id)
    })
}

async fn add_together(
    conn: &mut PgConnection,
    additions: &[Waiting<'_>],
) -> Result<Vec<(usize, ToolOutcome)>, sqlx::Error> {
    let new: Vec<_> = additions
        .iter()
        .filter_map(|waiting| Some(waiting.addition.as_ref()?.task(waiting.call.0)))
        .collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let added = tasks::add_all(conn, &new).await?;
    if added.len() != additions.len() {
        return Err(sqlx::Error::RowNotFound);
    }
    additions
        .iter()
        .zip(added)
        .map(|(waiting, task)| Ok((waiting.position, Addition::outcome(task)?)))
        .collect()
}
