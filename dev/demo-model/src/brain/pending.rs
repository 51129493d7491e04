//! The brain's own questions: how they are worded, and how they are found again in a reply of its own.
//!
//! The server keeps nothing, so a question must hold all that its answer needs. A question and the lines of a list
//! stand at the start of a line, where no title can: titles are shown on one line and in quotes.

use super::dialogue::Seen;

/// What a question is about to do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
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

    pub(super) fn word(self) -> &'static str {
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

/// A question that the last reply asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// Whether to delete these.
    Delete(Vec<Seen>),
    /// Which task; of these, if any are named.
    Which(Verb, Vec<Seen>),
    /// What to add.
    NewTitle,
    /// Whether to add what the user said.
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

impl Pending {
    /// The question in words. `said` is what the user said, for those that repeat it.
    pub(super) fn ask(&self, said: &str) -> String {
        match self {
            Self::Delete(tasks) => match tasks.as_slice() {
                [one] => {
                    let title = one
                        .title
                        .as_deref()
                        .map(|title| format!(": {}", quoted(title)))
                        .unwrap_or_default();
                    format!(
                        "{DELETE_ONE}{}{title}? This cannot be undone. Please answer yes or no.",
                        one.id
                    )
                }
                many => format!(
                    "{DELETE_MANY}{} tasks? This cannot be undone. Please answer yes or no.\n{}",
                    many.len(),
                    lines(many)
                ),
            },
            Self::Which(verb, tasks) if tasks.is_empty() => {
                format!("{WHICH}{}? Tell me its number or its title.", verb.word())
            }
            Self::Which(verb, tasks) => format!("{WHICH}{}?\n{}", verb.word(), lines(tasks)),
            Self::NewTitle => NEW_TITLE.to_owned(),
            Self::MaybeAdd => format!("{MAYBE_ADD}{}?", quoted(said)),
            Self::Title(id) => format!("{TITLE}{id} be called?"),
            Self::Description(id) => format!("{DESCRIPTION}{id} be?"),
        }
    }

    /// The last question in a reply.
    pub(super) fn find(reply: &str) -> Option<Self> {
        let start = reply
            .lines()
            .enumerate()
            .filter(|(_, line)| Self::line(line).is_some())
            .map(|(at, _)| at)
            .last()?;
        let mut rest = reply.lines().skip(start);
        let mut found = Self::line(rest.next()?)?;
        if let Self::Delete(tasks) | Self::Which(_, tasks) = &mut found {
            tasks.extend(rest.filter_map(listed_line));
        }
        Some(found)
    }

    fn line(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix(DELETE_ONE) {
            let title = rest
                .split_once(": \"")
                .and_then(|(_, rest)| rest.rsplit_once("\"?"))
                .map(|(t, _)| t.to_owned());
            return Some(Self::Delete(vec![Seen {
                title,
                ..Seen::numbered(number(rest)?)
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
            return number(rest).map(Self::Description);
        }
        line.strip_prefix(TITLE).and_then(number).map(Self::Title)
    }
}

/// The number that `text` begins with.
fn number(text: &str) -> Option<i64> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A title on one line, in quotes.
pub(super) fn quoted(title: &str) -> String {
    format!("\"{}\"", one_line(title))
}

/// A text on one line.
pub(super) fn one_line(text: &str) -> String {
    if text.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']) {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        text.trim().to_owned()
    }
}

/// A list of tasks, a line each.
pub(super) fn lines(tasks: &[Seen]) -> String {
    tasks.iter().map(list_line).collect::<Vec<_>>().join("\n")
}

/// `3. [x] buy milk`.
pub(super) fn list_line(task: &Seen) -> String {
    let mark = if task.completed == Some(true) { 'x' } else { ' ' };
    format!(
        "{}. [{mark}] {}",
        task.id,
        one_line(task.title.as_deref().unwrap_or_default())
    )
}

/// The tasks that a reply lists.
pub(super) fn listed(reply: &str) -> Vec<Seen> {
    reply.lines().filter_map(listed_line).collect()
}

fn listed_line(line: &str) -> Option<Seen> {
    let (number, rest) = line.split_once(". [")?;
    let (mark, title) = rest.split_once("] ")?;
    let completed = match mark {
        "x" => true,
        " " => false,
        _ => return None,
    };
    let id = number.parse().ok()?;
    Some(Seen {
        id,
        title: Some(title.to_owned()),
        completed: Some(completed),
        description: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: i64, title: &str) -> Seen {
        Seen {
            id,
            title: Some(title.into()),
            completed: Some(false),
            description: None,
        }
    }

    #[test]
    fn questions_are_found_again() {
        let one = Seen {
            completed: None,
            ..seen(7, "Should I delete task 9? \"x\"?")
        };
        for question in [
            Pending::Delete(vec![one]),
            Pending::Delete(vec![Seen::numbered(4)]),
            Pending::Delete(vec![seen(1, "a"), seen(2, "b. [x] c")]),
            Pending::Which(Verb::Complete, Vec::new()),
            Pending::Which(Verb::Rename, vec![seen(1, "a"), seen(3, "b")]),
            Pending::NewTitle,
            Pending::MaybeAdd,
            Pending::Title(12),
            Pending::Description(3),
        ] {
            let reply = format!(
                "Added task 3: \"x\".\n\n{}\n\n[A note.]",
                question.ask("buy milk")
            );
            assert_eq!(Pending::find(&reply), Some(question));
        }
        assert_eq!(Pending::find("Added task 1: \"Should I delete task 2\"."), None);
    }
}
