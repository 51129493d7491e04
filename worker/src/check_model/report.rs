//! What a check has found, and how it is printed.

use std::time::Duration;

use errand_agent::{ModelAnswer, Usage};

/// What the answers so far have shown.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The name of the model in the answers.
    pub(super) model: Option<String>,
    /// The largest number of pieces in which the text of an answer arrived. `None` if no text has arrived.
    pub(super) pieces: Option<usize>,
    pub(super) first_piece: Option<Duration>,
    /// The largest number of tool calls in one answer.
    pub(super) calls: usize,
    /// The reply after the results of the tools.
    pub(super) reply: Option<String>,
    pub(super) usage: Usage,
    /// Request parameters that the server rejected.
    pub(super) rejected: Vec<String>,
}

impl Findings {
    /// Adds an answer whose text arrived in `pieces` pieces.
    pub(super) fn add(&mut self, answer: &ModelAnswer, pieces: usize, first_piece: Option<Duration>) {
        self.model = Some(answer.model.clone());
        self.calls = self.calls.max(answer.tool_calls.len());
        self.usage += answer.usage;
        if !answer.content.trim().is_empty() && self.pieces.is_none_or(|most| pieces > most) {
            self.pieces = Some(pieces);
            self.first_piece = first_piece;
        }
    }
}

/// The result of `errand-worker check-model`.
#[derive(Debug)]
pub struct CheckReport {
    /// A table of what works and what does not, for standard output.
    pub table: String,
    /// What to change, on one line. `None` if chats with tools work.
    pub failure: Option<String>,
}

const YES: &str = "yes";
const NO: &str = "no";
/// Not known, because something that is needed first does not work.
const UNKNOWN: &str = "-";

impl CheckReport {
    pub(super) fn new(server: &str, model: &str, findings: &Findings, failure: Option<String>) -> Self {
        let mut table = format!("server           {server}\nmodel            {model}\n\n");
        for (label, verdict, note) in rows(findings) {
            table.push_str(format!("{label:<16} {verdict:<4} {note}").trim_end());
            table.push('\n');
        }
        if failure.is_none() {
            table.push_str("\nChats with tools work.\n");
        }
        Self { table, failure }
    }

    /// Replaces secrets, which a server may repeat in its errors.
    pub(super) fn without(mut self, secrets: &[String]) -> Self {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            self.table = self.table.replace(secret, "***");
            self.failure = self.failure.map(|failure| failure.replace(secret, "***"));
        }
        self
    }
}

type Row = (&'static str, &'static str, String);

fn rows(findings: &Findings) -> [Row; 7] {
    let answered = findings.model.as_deref();
    let calls = findings.calls;
    let has_called = calls > 0;
    [
        (
            "answers",
            if answered.is_some() { YES } else { NO },
            match answered {
                Some("") | None => String::new(),
                Some(model) => format!("from {model}"),
            },
        ),
        match (findings.pieces, findings.first_piece) {
            (None, _) => ("streaming", UNKNOWN, String::new()),
            (Some(pieces @ 2..), Some(first)) => (
                "streaming",
                YES,
                format!(
                    "{pieces} pieces of text, the first after {} ms",
                    first.as_millis()
                ),
            ),
            (Some(_), _) => ("streaming", NO, "the text arrived in one piece".to_owned()),
        },
        (
            "tool calls",
            verdict(answered.is_some(), has_called),
            String::new(),
        ),
        (
            "parallel calls",
            verdict(has_called, calls > 1),
            match calls {
                0 => String::new(),
                1 => "one call in each answer".to_owned(),
                calls => format!("{calls} calls in one answer"),
            },
        ),
        (
            "tool results",
            verdict(has_called, findings.reply.is_some()),
            findings.reply.as_deref().map(excerpt).unwrap_or_default(),
        ),
        (
            "token usage",
            verdict(answered.is_some(), !findings.usage.is_estimated),
            match (answered, findings.usage) {
                (None, _) => String::new(),
                (Some(_), usage) if usage.is_estimated => "not reported; runs record estimates".to_owned(),
                (Some(_), usage) => {
                    format!("{} + {} tokens", usage.prompt_tokens, usage.completion_tokens)
                }
            },
        ),
        (
            "all parameters",
            verdict(answered.is_some(), findings.rejected.is_empty()),
            if findings.rejected.is_empty() {
                String::new()
            } else {
                format!("left out or replaced: {}", findings.rejected.join(", "))
            },
        ),
    ]
}

const fn verdict(is_known: bool, is_so: bool) -> &'static str {
    match (is_known, is_so) {
        (false, _) => UNKNOWN,
        (true, true) => YES,
        (true, false) => NO,
    }
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    const CHARS: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printable = line.chars().filter(|character| !character.is_control());
    let mut start: String = printable.clone().take(CHARS).collect();
    if printable.count() > CHARS {
        start.push('…');
    }
    format!("\"{start}\"")
}
