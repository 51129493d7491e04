//! The classification rules: patterns with a meaning and a confidence. The tables are in `rules/*.rules`.

use std::sync::LazyLock;

use super::{
    pattern::{Captures, Pattern},
    token::Token,
};

/// The meaning of a rule. Its captures are `t` for the target, `x` for a title, `d` for a description and `s` for search
/// words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Add,
    /// Like `Add`, but the text is one literal title, never a list of titles.
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
    WhoAreYou,
    Help,
    MyName,
    Praise,
    NeverMind,
    Yes,
    OffTopic,
}

#[derive(Debug)]
pub(crate) struct RuleMatch {
    pub(crate) meaning: Meaning,
    pub(crate) score: f32,
    pub(crate) captures: Captures,
}

/// Words that cannot start a target: "which tasks are not done" is a question, not a command about "which tasks".
const QUESTION_WORDS: &[&str] = &[
    "which", "what", "whats", "who", "is", "are", "did", "do", "does", "how", "why", "when", "have", "has",
];

/// The tables, in order of precedence: of rules with equal scores, the first applies. Each line contains a meaning, a score
/// and a pattern.
const TABLES: [&str; 7] = [
    include_str!("rules/description.rules"),
    include_str!("rules/add.rules"),
    include_str!("rules/list.rules"),
    include_str!("rules/complete.rules"),
    include_str!("rules/rename.rules"),
    include_str!("rules/delete.rules"),
    include_str!("rules/small_talk.rules"),
];

struct Rule {
    meaning: Meaning,
    score: f32,
    pattern: Pattern,
}

fn lines() -> impl Iterator<Item = &'static str> {
    let lines = TABLES.iter().flat_map(|table| table.lines());
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn rule(line: &'static str) -> Option<Rule> {
    let (meaning, rest) = line.split_once(char::is_whitespace)?;
    let (score, pattern) = rest.trim_start().split_once(char::is_whitespace)?;
    Some(Rule {
        meaning: Meaning::named(meaning)?,
        score: score.parse().ok()?,
        pattern: Pattern::new(pattern),
    })
}

/// Returns the match with the highest score, or the first of several with the same score.
pub(crate) fn best(tokens: &[Token]) -> Option<RuleMatch> {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| lines().filter_map(rule).collect());
    let mut best: Option<RuleMatch> = None;
    for Rule {
        meaning,
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
                .is_some_and(|first| first.is(QUESTION_WORDS))
        {
            best = Some(RuleMatch {
                meaning: *meaning,
                score: *score,
                captures,
            });
        }
    }
    best
}

impl Meaning {
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
            "WhoAreYou" => Self::WhoAreYou,
            "Help" => Self::Help,
            "MyName" => Self::MyName,
            "Praise" => Self::Praise,
            "NeverMind" => Self::NeverMind,
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
    fn every_table_line_is_a_valid_rule() {
        let bad: Vec<&str> = lines().filter(|line| rule(line).is_none()).collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(lines().count() > 200);
    }
}
