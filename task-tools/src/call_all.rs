//! Calls of several users at once, with as few statements as their order allows.

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

/// A call to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// For whom.
    pub user_id: Uuid,
    /// The tool.
    pub name: &'a str,
    /// Its arguments; a `user_id` among them is passed over.
    pub arguments: &'a Map<String, Value>,
}

/// A call that has not been made yet.
struct Open<'a> {
    /// Its place among the outcomes.
    place: usize,
    call: Call<'a>,
    /// If it adds a task.
    addition: Option<Addition<'a>>,
}

/// Makes calls of any users, each user's in the order given: one outcome each, as of [`call`] one by one. Tasks that are
/// added together are added by one statement; every other tool is a statement of its own.
///
/// # Errors
/// A fault of Postgres. The caller undoes what was done, and may make the calls one by one to see which of them it was.
pub async fn call_all(conn: &mut PgConnection, calls: &[Call<'_>]) -> Result<Vec<ToolOutcome>, sqlx::Error> {
    let mut made = Vec::with_capacity(calls.len());
    let mut open = Vec::with_capacity(calls.len());
    for (place, call) in calls.iter().copied().enumerate() {
        let addition = (call.name == spec::ADD).then(|| Addition::read(Arguments(call.arguments)));
        match addition.transpose() {
            Ok(addition) => open.push(Open {
                place,
                call,
                addition,
            }),
            Err(failure) => made.push((place, ToolOutcome::failure(&failure))),
        }
    }
    while !open.is_empty() {
        let (additions, rest) = leading_additions(open);
        made.extend(add_together(conn, &additions).await?);
        // What each user's additions had to wait for comes first now.
        let mut served = HashSet::new();
        let (others, later): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|open| served.insert(open.call.user_id));
        for Open { place, call: one, .. } in others {
            made.push((place, call(conn, one.user_id, one.name, one.arguments).await?));
        }
        open = later;
    }
    made.sort_unstable_by_key(|(place, _)| *place);
    Ok(made.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The additions that have no other call of their user before them, and the rest.
fn leading_additions(open: Vec<Open<'_>>) -> (Vec<Open<'_>>, Vec<Open<'_>>) {
    let mut waiting = HashSet::new();
    open.into_iter().partition(|open| {
        let user_id = open.call.user_id;
        if open.addition.is_none() {
            waiting.insert(user_id);
        }
        !waiting.contains(&user_id)
    })
}

async fn add_together(
    conn: &mut PgConnection,
    additions: &[Open<'_>],
) -> Result<Vec<(usize, ToolOutcome)>, sqlx::Error> {
    let new: Vec<_> = additions
        .iter()
        .filter_map(|open| Some(open.addition.as_ref()?.task(open.call.user_id)))
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
        .map(|(open, task)| Ok((open.place, Addition::outcome(task)?)))
        .collect()
}
