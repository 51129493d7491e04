//! Compares what the clients were promised with what is stored.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use errand_shared::Uuid;
use serde_json::Value;

use crate::{
    book::{Book, Run},
    record::{Record, Sent},
};

/// Notes every promise that was not kept.
pub(crate) fn check(book: &Book, record: &Record) {
    let sent = record.all();
    let mut by_text: HashMap<&str, Vec<&Run>> = HashMap::new();
    for run in book.runs.values() {
        each_run(run, record);
        for (_, text) in &run.asked {
            by_text.entry(text).or_default().push(run);
        }
    }
    for sent in &sent {
        let runs = by_text.get(sent.text.as_str()).map_or(&[][..], Vec::as_slice);
        each_message(sent, runs, record);
        each_task(sent, book, record);
    }
    let known: HashSet<_> = sent.iter().map(|sent| sent.text.as_str()).collect();
    for text in by_text.keys().filter(|text| !known.contains(*text)) {
        record.broken("nothing is stored that nobody sent", *text);
    }
    effects(book, record);
    order(&sent, book, record);
    let found = [
        ("a worker without the lease writes nothing", &book.unfenced),
        ("runs of a conversation go one at a time", &book.at_once),
        ("one key, one run", &book.doubled_keys),
    ];
    for (what, details) in found {
        for detail in details {
            record.broken(what, detail);
        }
    }
}

/// Notes every call of somebody else's tool that had its effect more than once, by the keys of the effects.
pub(crate) fn elsewhere(keys: &[String], record: &Record) {
    let mut seen = HashSet::new();
    for key in keys.iter().filter(|key| !seen.insert(*key)) {
        record.broken("another's tool acts at most once a call", key);
    }
}

fn each_run(run: &Run, record: &Record) {
    let is_final = matches!(run.status.as_str(), "succeeded" | "failed" | "cancelled");
    if !is_final {
        record.broken("every run ends", format!("{} is {}", run.id, run.status));
    }
    if run.asked.len() != 1 {
        record.broken(
            "a run has one message",
            format!("{} has {}", run.id, run.asked.len()),
        );
    }
    let replies = usize::from(run.status == "succeeded");
    if is_final && run.replies.len() != replies {
        record.broken(
            "a succeeded run has one reply, another none",
            format!("{} has {}", run.id, run.replies.len()),
        );
    }
    if let Some(reason) = run.reason.as_deref()
        && run.status == "failed"
        && reason.contains("internal error")
    {
        record.broken(
            "no fault from outside is an internal error",
            format!("{}: {reason}", run.id),
        );
    }
}

fn each_message(sent: &Sent, runs: &[&Run], record: &Record) {
    let Some(promised) = sent.run else {
        if runs.len() > 1 {
            record.broken("a message is stored once", &sent.text);
        }
        return;
    };
    let [run] = runs else {
        let what = if runs.is_empty() {
            "a promised message is stored"
        } else {
            "a message is stored once"
        };
        return record.broken(what, format!("{promised}: {} times", runs.len()));
    };
    if run.id != promised {
        record.broken(
            "a message has the run that was promised",
            format!("{promised}, not {}", run.id),
        );
    }
    if run.user != sent.user {
        record.broken("nobody has another's data", format!("run {}", run.id));
    }
    if sent.conversation != Some(run.conversation) {
        record.broken("a run stays in its conversation", run.id.to_string());
    }
    if run.status == "cancelled" && !sent.cancel_asked {
        record.broken("nothing is cancelled unasked", run.id.to_string());
    }
    if sent.cancel_accepted && run.status != "cancelled" {
        record.broken(
            "what is cancelled with 202 is cancelled",
            format!("{} {}", run.id, run.status),
        );
    }
    if let Some(answer) = &sent.answer {
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let stored = run.replies.first();
        let same = text("status") == run.status
            && stored.is_none_or(|(_, reply, calls)| {
                reply == text("message") && Some(calls) == answer.get("tool_calls")
            });
        if !same {
            record.broken("an answer is what is stored", format!("{}: {answer}", run.id));
        }
    }
}

fn each_task(sent: &Sent, book: &Book, record: &Record) {
    let Some(title) = &sent.task else { return };
    let owners = book.tasks.get(title).map_or(&[][..], Vec::as_slice);
    if owners.len() > 1 {
        record.broken("a tool acts once", format!("{} tasks {title}", owners.len()));
    }
    if owners.iter().any(|owner| *owner != sent.user) {
        record.broken("nobody has another's data", format!("task {title}"));
    }
}

/// Each successful call has its task, and each task its call.
fn effects(book: &Book, record: &Record) {
    let titles: HashSet<_> = book.tasks.keys().chain(book.added.keys()).collect();
    for title in titles {
        let tasks = book.tasks.get(title).map_or(0, Vec::len);
        let calls = book.added.get(title).map_or(0, Vec::len);
        if tasks != calls {
            record.broken(
                "an effect commits with its call",
                format!("{title}: {tasks} tasks, {calls} calls"),
            );
        }
    }
}

/// Messages of a conversation stand in the order in which they were sent, and so do their replies.
fn order(sent: &[Sent], book: &Book, record: &Record) {
    let mut conversations: HashMap<Uuid, Vec<(usize, &Run)>> = HashMap::new();
    for sent in sent {
        if let Some(run) = sent.run.and_then(|run| book.runs.get(&run)) {
            conversations
                .entry(run.conversation)
                .or_default()
                .push((sent.place, run));
        }
    }
    for (id, mut runs) in conversations {
        runs.sort_by_key(|(place, _)| *place);
        let seqs = runs.iter().map(|(_, run)| run.seq);
        if !seqs.is_sorted_by(|one, next| one < next) {
            record.broken("messages stand in the order they were sent", id.to_string());
        }
        let replies = runs.iter().filter_map(|(_, run)| Some(run.replies.first()?.0));
        if !replies.is_sorted_by(|one, next| one < next) {
            record.broken("replies stand in the order of their messages", id.to_string());
        }
    }
}
