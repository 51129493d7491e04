//! Questions to the user: their wording, and their recognition in an earlier reply.
//!
//! The model keeps no state, so a question's text must contain everything that is needed to process the answer. Questions
//! and list lines are recognized at the start of a line. A title can't imitate them, because titles are shown on one line,
//! after a number or in quotes.

use super::KnownTask;

/// The operation for which a question asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Complete,
    Reopen,
    Rename,
    Describe,
    Delete,
    Show,
    Change,
}

impl Verb {
    const ALL: [Self; 7] = [
        Self::Complete,
        Self::Reopen,
        Self::Rename,
        Self::Describe,
        Self::Delete,
        Self::Show,
        Self::Change,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Reopen => "reopen",
            Self::Rename => "rename",
            Self::Describe => "describe",
            Self::Delete => "delete",
            Self::Show => "show",
            Self::Change => "change",
        }
    }
}

/// A question to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Confirmation of a deletion.
    Delete(Vec<KnownTask>),
    /// Which task, possibly one of these candidates.
    Which(Verb, Vec<KnownTask>),
    /// The title of a new task.
    NewTitle,
    /// Whether to add the user's message as a task.
    MaybeAdd,
    /// The new title of this task.
    Title(i64),
    /// The new description of this task.
    Description(i64),
}

const DELETE_ONE: &str = "Should I delete task ";
const DELETE_MANY: &str = "Should I delete these ";
const WHICH: &str = "Which task should I ";
const NEW_TITLE: &str = "What should the new task be called?";
const MAYBE_ADD: &str = "Should I add a task called ";
const TITLE: &str = "What should task ";
const DESCRIPTION: &str = "What should the description of task ";

impl Question {
    /// The text of the question. `message` is the user's message, which some questions quote.
    pub(crate) fn text(&self, message: &str) -> String {
        match self {
            Self::Delete(tasks) => match tasks.as_slice() {
                [one] => {
                    let title = one
                        .title
                        .as_deref()
                        .map(|title| format!(": {}", quoted(title)))
                        .unwrap_or_default();
                    format!(
                        "{DELETE_ONE}{}{title}? This can't be undone. Please answer yes or no.",
                        one.id
                    )
                }
                many => format!(
                    "{DELETE_MANY}{} tasks? This can't be undone. Please answer yes or no.\n{}",
                    many.len(),
                    lines(many)
                ),
            },
            Self::Which(verb, tasks) if tasks.is_empty() => {
                format!("{WHICH}{}? Give me its number or title.", verb.word())
            }
            Self::Which(verb, tasks) => format!("{WHICH}{}?\n{}", verb.word(), lines(tasks)),
            Self::NewTitle => NEW_TITLE.to_owned(),
            Self::MaybeAdd => format!("{MAYBE_ADD}{}?", quoted(message)),
            Self::Title(id) => format!("{TITLE}{id} be called?"),
            Self::Description(id) => format!("{DESCRIPTION}{id} be?"),
        }
    }

    /// Finds the last question in a reply.
    pub(crate) fn find(reply: &str) -> Option<Self> {
        let start = reply
            .lines()
            .enumerate()
            .filter(|(_, line)| Self::from_line(line).is_some())
            .map(|(at, _)| at)
            .last()?;
        let mut rest = reply.lines().skip(start);
        let mut found = Self::from_line(rest.next()?)?;
        if let Self::Delete(tasks) | Self::Which(_, tasks) = &mut found {
            tasks.extend(rest.filter_map(listed_line));
        }
        Some(found)
    }

    fn from_line(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix(DELETE_ONE) {
            let title = rest
                .split_once(": \"")
                .and_then(|(_, rest)| rest.rsplit_once("\"?"))
                .map(|(t, _)| t.to_owned());
            return Some(Self::Delete(vec![KnownTask {
                title,
                ..KnownTask::with_id(leading_number(rest)?)
            }]));
        }
        if line.starts_with(DELETE_MANY) {
            return Some(Self::Delete(Vec::new()));
        }
        if let Some(rest) = line.strip_prefix(WHICH) {
            let verb = Verb::ALL
                .into_iter()
                .find(|verb| rest.strip_prefix(verb.word()).is_some_and(|r| r.starts_with('?')))?;
            return Some(Self::Which(verb, Vec::new()));
        }
        if line.starts_with(NEW_TITLE) {
            return Some(Self::NewTitle);
        }
        if line.starts_with(MAYBE_ADD) {
            return Some(Self::MaybeAdd);
        }
        if let Some(rest) = line.strip_prefix(DESCRIPTION) {
            return leading_number(rest).map(Self::Description);
        }
        line.strip_prefix(TITLE).and_then(leading_number).map(Self::Title)
    }
}

/// Parses the number at the start of `text`.
fn leading_number(text: &str) -> Option<i64> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A title on one line, in quotes.
pub(crate) fn quoted(title: &str) -> String {
    format!("\"{}\"", one_line(title))
}

/// `text` with line breaks replaced by spaces.
pub(crate) fn one_line(text: &str) -> String {
    if text.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']) {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        text.trim().to_owned()
    }
}

/// A list of tasks, one per line.
pub(crate) fn lines(tasks: &[KnownTask]) -> String {
    tasks.iter().map(list_line).collect::<Vec<_>>().join("\n")
}

/// `3. [x] buy milk`.
pub(crate) fn list_line(task: &KnownTask) -> String {
    let mark = if task.completed == Some(true) { 'x' } else { ' ' };
    format!(
        "{}. [{mark}] {}",
        task.id,
        one_line(task.title.as_deref().unwrap_or_default())
    )
}

/// Parses the tasks listed in a reply.
pub(crate) fn listed(reply: &str) -> Vec<KnownTask> {
    reply.lines().filter_map(listed_line).collect()
}

fn listed_line(line: &str) -> Option<KnownTask> {
    let (number, rest) = line.split_once(". [")?;
    let (mark, title) = rest.split_once("] ")?;
    let completed = match mark {
        "x" => true,
        " " => false,
        _ => return None,
    };
    let id = number.parse().ok()?;
    Some(KnownTask {
        id,
        title: Some(title.to_owned()),
        completed: Some(completed),
        description: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: i64, title: &str) -> KnownTask {
        KnownTask {
            id,
            title: Some(title.into()),
            completed: Some(false),
            description: None,
        }
    }

    #[test]
    fn questions_are_recognized_in_replies() {
        let one = KnownTask {
            completed: None,
            ..task(7, "Should I delete task 9? \"x\"?")
        };
        for question in [
            Question::Delete(vec![one]),
            Question::Delete(vec![KnownTask::with_id(4)]),
            Question::Delete(vec![task(1, "a"), task(2, "b. [x] c")]),
            Question::Which(Verb::Complete, Vec::new()),
            Question::Which(Verb::Rename, vec![task(1, "a"), task(3, "b")]),
            Question::NewTitle,
            Question::MaybeAdd,
            Question::Title(12),
            Question::Description(3),
        ] {
            let reply = format!(
                "Added task 3: \"x\".\n\n{}\n\n[A note.]",
                question.text("buy milk")
            );
            assert_eq!(Question::find(&reply), Some(question));
        }
        assert_eq!(Question::find("Added task 1: \"Should I delete task 2\"."), None);
    }
}
