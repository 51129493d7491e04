//! The rules: which pattern means what, and how sure that is. The tables themselves stand in `rules/*.rules`.

use std::sync::LazyLock;

use super::{
    pattern::{Captures, Pattern},
    token::Token,
};

/// What a rule means. Captures: `t` the target, `x` a title, `d` a description, `s` what to search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Add,
    /// The title is meant as it stands; it is not a list of titles.
    AddExact,
    AddNothing,
    List,
    Search,
    More,
    Show,
    Complete,
    Reopen,
    Undo,
    Rename,
    RenameTo,
    Change,
    Describe,
    Append,
    ClearDescription,
    Delete,
    Greeting,
    HowAreYou,
    Thanks,
    Bye,
    Who,
    Help,
    MyName,
    Praise,
    Never,
    Yes,
    OffTopic,
}

/// A rule that matched.
#[derive(Debug)]
pub(super) struct Matched {
    pub(super) means: Means,
    pub(super) score: f32,
    pub(super) captures: Captures,
}

/// Words that no target begins with: "which tasks are not done" is a question.
const ASKING: &[&str] = &[
    "which", "what", "whats", "who", "is", "are", "did", "do", "does", "how", "why", "when", "have", "has",
];

/// The tables, the more telling first: of equals the first counts. Each line is a meaning, a score and a pattern.
const TABLES: [&str; 7] = [
    include_str!("rules/notes.rules"),
    include_str!("rules/create.rules"),
    include_str!("rules/view.rules"),
    include_str!("rules/done.rules"),
    include_str!("rules/rename.rules"),
    include_str!("rules/delete.rules"),
    include_str!("rules/talk.rules"),
];

struct Rule {
    means: Means,
    score: f32,
    pattern: Pattern,
}

/// The lines of the tables that are rules.
fn lines() -> impl Iterator<Item = &'static str> {
    let lines = TABLES.iter().flat_map(|table| table.lines());
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn rule(line: &'static str) -> Option<Rule> {
    let (means, rest) = line.split_once(char::is_whitespace)?;
    let (score, pattern) = rest.trim_start().split_once(char::is_whitespace)?;
    Some(Rule {
        means: Means::named(means)?,
        score: score.parse().ok()?,
        pattern: Pattern::new(pattern),
    })
}

/// The best rule for a clause; of equals the first in the tables.
pub(super) fn best(tokens: &[Token]) -> Option<Matched> {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| lines().filter_map(rule).collect());
    let mut best: Option<Matched> = None;
    for Rule {
        means,
        score,
        pattern,
    } in RULES.iter()
    {
        if best.as_ref().is_some_and(|best| best.score >= *score) {
            continue;
        }
        if let Some(captures) = pattern.matches(tokens)
            && !captures
                .get('t', tokens)
                .and_then(<[Token]>::first)
                .is_some_and(|first| first.is(ASKING))
        {
            best = Some(Matched {
                means: *means,
                score: *score,
                captures,
            });
        }
    }
    best
}

impl Means {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Add" => Self::Add,
            "AddExact" => Self::AddExact,
            "AddNothing" => Self::AddNothing,
            "List" => Self::List,
            "Search" => Self::Search,
            "More" => Self::More,
            "Show" => Self::Show,
            "Complete" => Self::Complete,
            "Reopen" => Self::Reopen,
            "Undo" => Self::Undo,
            "Rename" => Self::Rename,
            "RenameTo" => Self::RenameTo,
            "Change" => Self::Change,
            "Describe" => Self::Describe,
            "Append" => Self::Append,
            "ClearDescription" => Self::ClearDescription,
            "Delete" => Self::Delete,
            "Greeting" => Self::Greeting,
            "HowAreYou" => Self::HowAreYou,
            "Thanks" => Self::Thanks,
            "Bye" => Self::Bye,
            "Who" => Self::Who,
            "Help" => Self::Help,
            "MyName" => Self::MyName,
            "Praise" => Self::Praise,
            "Never" => Self::Never,
            "Yes" => Self::Yes,
            "OffTopic" => Self::OffTopic,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_a_rule() {
        let bad: Vec<&str> = lines().filter(|line| rule(line).is_none()).collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(lines().count() > 200);
    }
}
