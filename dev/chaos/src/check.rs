//! Compares the responses that clients received with the stored state.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    record::{Record, Sent},
    stored_state::{Run, StoredState},
};

/// Records every violation.
pub(crate) fn check(state: &StoredState, record: &Record) {
    let sent = record.all();
    let mut by_text: HashMap<&str, Vec<&Run>> = HashMap::new();
    for run in state.runs.values() {
        check_run(run, record);
        for (_, text) in &run.requests {
            by_text.entry(text).or_default().push(run);
        }
    }
    for sent in &sent {
        let runs = by_text.get(sent.text.as_str()).map_or(&[][..], Vec::as_slice);
        check_message(sent, runs, record);
        check_task(sent, state, record);
    }
    let known: HashSet<_> = sent.iter().map(|sent| sent.text.as_str()).collect();
    for text in by_text.keys().filter(|text| !known.contains(*text)) {
        record.violation("every stored message was sent", *text);
    }
    check_effects(state, record);
    check_order(&sent, state, record);
    let found = [
        (
            "only the worker with the lease writes",
            &state.writes_without_lease,
        ),
        (
            "a conversation has one running run at a time",
            &state.parallel_runs,
        ),
        ("an idempotency key has one run", &state.shared_keys),
    ];
    for (guarantee, details) in found {
        for detail in details {
            record.violation(guarantee, detail);
        }
    }
}

/// Records every MCP tool call that took effect more than once, given the idempotency keys of the effects.
pub(crate) fn mcp_effects(keys: &[String], record: &Record) {
    let mut seen = HashSet::new();
    for key in keys.iter().filter(|key| !seen.insert(*key)) {
        record.violation("an MCP tool takes effect at most once per call", key);
    }
}

fn check_run(run: &Run, record: &Record) {
    let is_final = matches!(run.status.as_str(), "succeeded" | "failed" | "cancelled");
    if !is_final {
        record.violation("every run finishes", format!("{} is {}", run.id, run.status));
    }
    if run.requests.len() != 1 {
        record.violation(
            "every run has one user message",
            format!("{} has {}", run.id, run.requests.len()),
        );
    }
    let replies = usize::from(run.status == "succeeded");
    if is_final && run.replies.len() != replies {
        record.violation(
            "a succeeded run has one reply, any other run none",
            format!("{} has {}", run.id, run.replies.len()),
        );
    }
    if let Some(reason) = run.reason.as_deref()
        && run.status == "failed"
        && reason.contains("internal error")
    {
        record.violation(
            "no run fails with an internal error",
            format!("{}: {reason}", run.id),
        );
    }
}

fn check_message(sent: &Sent, runs: &[&Run], record: &Record) {
    let Some(accepted) = sent.run else {
        if runs.len() > 1 {
            record.violation("a message is stored once", &sent.text);
        }
        return;
    };
    let [run] = runs else {
        let guarantee = if runs.is_empty() {
            "an accepted message is stored"
        } else {
            "a message is stored once"
        };
        return record.violation(guarantee, format!("{accepted}: {} times", runs.len()));
    };
    if run.id != accepted {
        record.violation(
            "a message belongs to the run in its response",
            format!("{accepted}, not {}", run.id),
        );
    }
    if run.user != sent.user {
        record.violation("users see only their own data", format!("run {}", run.id));
    }
    if sent.conversation != Some(run.conversation) {
        record.violation("a run stays in its conversation", run.id.to_string());
    }
    if run.status == "cancelled" && !sent.cancel_requested {
        record.violation("no run is cancelled without a request", run.id.to_string());
    }
    if sent.cancel_accepted && run.status != "cancelled" {
        record.violation(
            "a run whose cancellation was accepted is cancelled",
            format!("{} {}", run.id, run.status),
        );
    }
    if let Some(answer) = &sent.answer {
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let stored = run.replies.first();
        let matches = text("status") == run.status
            && stored.is_none_or(|(_, reply, calls)| {
                reply == text("message") && Some(calls) == answer.get("tool_calls")
            });
        if !matches {
            record.violation(
                "a response matches the stored run",
                format!("{}: {answer}", run.id),
            );
        }
    }
}

fn check_task(sent: &Sent, state: &StoredState, record: &Record) {
    let Some(title) = &sent.task else { return };
    let owners = state.tasks.get(title).map_or(&[][..], Vec::as_slice);
    if owners.len() > 1 {
        record.violation(
            "a tool call takes effect once",
            format!("{} tasks {title}", owners.len()),
        );
    }
    if owners.iter().any(|owner| *owner != sent.user) {
        record.violation("users see only their own data", format!("task {title}"));
    }
}

/// Each successful call has a task, and each task a call.
fn check_effects(state: &StoredState, record: &Record) {
    let titles: HashSet<_> = state.tasks.keys().chain(state.added.keys()).collect();
    for title in titles {
        let tasks = state.tasks.get(title).map_or(0, Vec::len);
        let calls = state.added.get(title).map_or(0, Vec::len);
        if tasks != calls {
            record.violation(
                "a tool's effect is committed with its call",
                format!("{title}: {tasks} tasks, {calls} calls"),
            );
        }
    }
}

/// The messages of a conversation are stored in the order in which they were sent, and so are their replies.
fn check_order(sent: &[Sent], state: &StoredState, record: &Record) {
    let mut conversations: HashMap<Uuid, Vec<(usize, &Run)>> = HashMap::new();
    for sent in sent {
        if let Some(run) = sent.run.and_then(|run| state.runs.get(&run)) {
            conversations
                .entry(run.conversation)
                .or_default()
                .push((sent.position, run));
        }
    }
    for (id, mut runs) in conversations {
        runs.sort_by_key(|(position, _)| *position);
        let seqs = runs.iter().map(|(_, run)| run.seq);
        if !seqs.is_sorted_by(|one, next| one < next) {
            record.violation("messages are stored in the order they were sent", id.to_string());
        }
        let replies = runs.iter().filter_map(|(_, run)| Some(run.replies.first()?.0));
        if !replies.is_sorted_by(|one, next| one < next) {
            record.violation(
                "replies are stored in the order of their messages",
                id.to_string(),
            );
        }
    }
}
