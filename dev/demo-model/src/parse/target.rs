//! Parses references to tasks: numbers, positions, pronouns, or words from a title.

use super::{
    ordinal::{cardinal, ordinal, range},
    token::{Kind, Token, source_text},
};
use crate::action::{Ref, Target};

/// Nouns for a task.
const NOUNS: &[&str] = &[
    "task",
    "tasks",
    "item",
    "items",
    "number",
    "numbers",
    "no",
    "nr",
    "todo",
    "todos",
    "reminder",
    "reminders",
    "entry",
    "entries",
    "thing",
    "things",
];
/// Words without meaning in a reference.
const FILLERS: &[&str] = &[
    "the", "my", "and", "also", "please", "too", "now", "both", "of", "ones", "one", "list", "instead",
    "plus", "all", "then", "just", "only", "a", "on", "in", "again", "or", "yes", "yeah", "mean", "i", "go",
    "with", "was", "is", "take", "choose", "pick", "for", "me", "actually", "to", "that", "this", "said",
    "with", "id",
];
/// Parses a target. Words that are neither numbers, positions nor pronouns become a title to search for.
pub(crate) fn target(text: &str, tokens: &[Token]) -> Target {
    let tokens = strip(tokens);
    if let Some(refs) = refs(tokens) {
        return Target::Refs(refs);
    }
    if let [word] = tokens
        && let Some(number) = cardinal(word)
    {
        return Target::Refs(vec![Ref::Id(number)]);
    }
    if tokens.iter().all(|token| {
        token.kind == Kind::Mark || token.is(NOUNS) || token.is(&["a", "an", "my", "the", "one"])
    }) {
        let all = tokens
            .iter()
            .any(|token| token.is(&["tasks", "todos", "items", "list"]));
        let the = tokens.iter().any(|token| token.is(&["the"]));
        return match (all, the, tokens.is_empty()) {
            (true, ..) => Target::All(None),
            (false, true, false) => Target::Refs(vec![Ref::It]),
            _ => Target::Missing,
        };
    }
    if let Some(target) = all(tokens) {
        return target;
    }
    if let Some(refs) = mixed(text, tokens) {
        return Target::Refs(refs);
    }
    let name = name(text, tokens);
    if name.is_empty() {
        Target::Missing
    } else {
        Target::Refs(vec![Ref::Name(name)])
    }
}

/// Parses numbers, positions and pronouns. Returns `None` if there are other words.
pub(crate) fn refs(tokens: &[Token]) -> Option<Vec<Ref>> {
    let mut refs = Vec::new();
    let mut rest = tokens;
    let mut after_noun = false;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if first.kind == Kind::Quoted {
            return None;
        }
        let noun = first.is(&["task", "number", "item", "no", "nr", "todo"]);
        if first.kind == Kind::Mark || first.norm.is_empty() {
        } else if let Some(number) = first.number() {
            match tail {
                [to, end, more @ ..] if to.is(&["to", "through", "thru", "until"]) || to.is_mark(&["-"]) => {
                    let end = end.number()?;
                    refs.extend((number..=end).take(100).map(Ref::Id));
                    rest = more;
                }
                // "task 2: buy milk": the number identifies the task, the title is redundant.
                [colon, word, ..] if after_noun && colon.is_mark(&[":"]) && word.number().is_none() => {
                    refs.push(Ref::Id(number));
                    return Some(refs);
                }
                _ => refs.push(Ref::Id(number)),
            }
        } else if let Some((from, to)) = range(&first.norm) {
            refs.extend((from..=to).take(100).map(Ref::Id));
        } else if after_noun && let Some(number) = cardinal(first) {
            refs.push(Ref::Id(number));
        } else if let Some(found) = ordinal(first, &mut rest) {
            refs.extend(found);
        } else if is_it(first, tail) {
            refs.push(Ref::It);
        } else if first.is(&["them", "those", "these", "both", "they"]) {
            refs.push(Ref::Them);
        } else if first.is(&["other"]) {
            refs.push(Ref::Other);
        } else if !first.is(NOUNS) && !first.is(FILLERS) {
            return None;
        }
        after_noun = noun;
    }
    refs.dedup();
    (!refs.is_empty()).then_some(refs)
}

/// Whether the words start with "it" or "that one", or end with "that".
fn is_it(first: &Token, tail: &[Token]) -> bool {
    let noun = tail.first().is_some_and(|next| next.is(&["one", "task", "item"]));
    first.is(&["it", "itself", "its"])
        || (first.is(&["that", "this"]) && (noun || tail.iter().all(Token::is_ending)))
}

impl Token {
    fn is_ending(&self) -> bool {
        self.kind == Kind::Mark || self.is(&["please", "too", "now", "instead", "again"])
    }
}

/// Parses "all tasks", "everything", "completed tasks" and the like.
fn all(tokens: &[Token]) -> Option<Target> {
    const ALL: &[&str] = &["all", "everything", "every", "each", "entire", "whole"];
    const DONE: &[&str] = &["done", "completed", "finished", "complete", "closed"];
    const OPEN: &[&str] = &[
        "pending",
        "open",
        "incomplete",
        "unfinished",
        "remaining",
        "outstanding",
        "active",
        "uncompleted",
        "undone",
    ];
    const AROUND: &[&str] = &[
        "of",
        "my",
        "the",
        "tasks",
        "task",
        "items",
        "item",
        "todos",
        "todo",
        "list",
        "on",
        "in",
        "from",
        "please",
        "reminders",
        "that",
        "are",
        "is",
        "i",
        "have",
        "ones",
        "now",
        "already",
        "stuff",
        "things",
        "which",
        "were",
    ];
    let words = || {
        tokens
            .iter()
            .filter(|token| token.kind != Kind::Mark && !token.norm.is_empty())
    };
    let known = words().all(|token| token.is(ALL) || token.is(DONE) || token.is(OPEN) || token.is(AROUND));
    let all = words().any(|token| token.is(ALL));
    let done = words().any(|token| token.is(DONE)).then_some(true);
    let open = words().any(|token| token.is(OPEN)).then_some(false);
    let plural = words().any(|token| {
        token.is(&[
            "tasks",
            "items",
            "todos",
            "reminders",
            "ones",
            "list",
            "stuff",
            "things",
        ])
    });
    (known && (all || plural)).then_some(Target::All(done.or(open)))
}

/// Parses lists of numbers and titles: "1, milk and the last one".
fn mixed(text: &str, tokens: &[Token]) -> Option<Vec<Ref>> {
    let parts: Vec<&[Token]> = tokens
        .split(|token| token.is_mark(&[",", ";"]) || token.is(&["and"]))
        .filter(|part| !part.is_empty())
        .collect();
    if parts.len() < 2 {
        return None;
    }
    let quoted = parts
        .iter()
        .all(|part| matches!(part, [one] if one.kind == Kind::Quoted));
    let read: Vec<Option<Vec<Ref>>> = parts.iter().map(|part| refs(part)).collect();
    if !quoted && read.iter().all(Option::is_none) {
        return None;
    }
    let refs = read.into_iter().zip(parts);
    Some(
        refs.flat_map(|(refs, part)| refs.unwrap_or_else(|| vec![Ref::Name(name(text, part))]))
            .collect(),
    )
}

/// Removes words and punctuation around a target.
fn strip(mut tokens: &[Token]) -> &[Token] {
    loop {
        tokens = match tokens {
            [first, rest @ ..] if first.kind == Kind::Mark => rest,
            [rest @ .., last] if last.kind == Kind::Mark || last.norm.is_empty() => rest,
            [rest @ .., last]
                if last.is(&["please", "pls", "now", "too", "thanks", "instead"]) && !rest.is_empty() =>
            {
                rest
            }
            [rest @ .., a, b] if a.is(&["for"]) && b.is(&["me"]) && !rest.is_empty() => rest,
            [rest @ .., a, b] if a.is(&["as"]) && b.is(&["well"]) => rest,
            [rest @ .., a, b, c]
                if a.is(&["from", "on", "in", "off"])
                    && b.is(&["my", "the"])
                    && c.is(&["list", "tasks", "todos", "todo"])
                    && !rest.is_empty() =>
            {
                rest
            }
            _ => return tokens,
        };
    }
}

/// Extracts title words from a phrase: "the task called milk", "the milk one".
fn name(text: &str, tokens: &[Token]) -> String {
    let mut tokens = strip(tokens);
    let quotes: Vec<&Token> = tokens.iter().filter(|token| token.kind == Kind::Quoted).collect();
    if let [one] = quotes.as_slice()
        && tokens
            .iter()
            .filter(|token| token.kind == Kind::Word)
            .all(|token| token.is(AROUND_NAME))
    {
        return source_text(text, std::slice::from_ref(*one)).to_owned();
    }
    let mut noun = false;
    while let [first, rest @ ..] = tokens {
        let lead = first.is(&["the", "my", "a", "an", "that", "this", "with"]) || first.kind == Kind::Mark;
        let is_noun = first.is(NOUNS);
        let link = noun
            && first.is(&[
                "called",
                "named",
                "titled",
                "about",
                "to",
                "for",
                "of",
                "regarding",
                "is",
            ]);
        if rest.is_empty() || !(lead || is_noun || link) {
            break;
        }
        noun |= is_noun;
        tokens = rest;
    }
    if let [one, about, rest @ ..] = tokens
        && one.is(&["one", "ones"])
        && about.is(&["about", "called", "with", "to", "for", "named"])
    {
        tokens = rest;
    }
    while let [rest @ .., last] = tokens
        && !rest.is_empty()
        && last.is(&["task", "tasks", "item", "one", "todo", "reminder"])
    {
        tokens = rest;
    }
    source_text(text, tokens).trim().to_owned()
}

/// Words that may surround a quoted title.
const AROUND_NAME: &[&str] = &[
    "the", "my", "task", "item", "todo", "called", "named", "titled", "one", "about", "reminder", "that",
    "a", "this",
];
