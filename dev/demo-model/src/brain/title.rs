//! New tasks from the words after "add": titles as typed, descriptions, and lists of titles.

use super::{
    action::NewTask,
    description::described,
    lexicon::is_verb,
    token::{Kind, Token, exact},
};

/// The longest title, in characters.
const MAX_TITLE: usize = 255;

/// How freely the words may be read as several titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// One title, as it stands.
    Exact,
    /// "a task to …": several only if it could hardly be one.
    One,
    /// "add …".
    Free,
    /// "tasks: …".
    Several,
}

/// The tasks that `words` of `text` ask for. `question` tells that a question mark at the end is not the title's.
pub(super) fn new_tasks(text: &str, words: &[Token], reading: Reading, question: bool) -> Vec<NewTask> {
    let words = trim(words, reading == Reading::Exact, question);
    if let Some(items) = bullets(words) {
        return items
            .into_iter()
            .filter_map(|item| new_task(text, trim(item, false, false), None))
            .collect();
    }
    if let Some((title, description)) = described(words) {
        let description = exact(text, trim_start(description)).trim();
        return new_task(text, trim(title, false, question), Some(description))
            .into_iter()
            .collect();
    }
    if let Some(at) = words.iter().skip(1).position(|token| token.new_line)
        && let Some((title, rest)) = words.split_at_checked(at + 1)
    {
        return new_task(text, trim(title, false, false), Some(exact(text, rest)))
            .into_iter()
            .collect();
    }
    let items = if reading == Reading::Exact {
        quotations(words)
    } else {
        titles(words, reading)
    };
    items
        .into_iter()
        .filter_map(|item| new_task(text, trim(item, reading == Reading::Exact, question), None))
        .collect()
}

/// A task of these words; a title that is too long is cut and kept whole in the description.
fn new_task(text: &str, words: &[Token], description: Option<&str>) -> Option<NewTask> {
    let title = exact(text, words).trim();
    fit(title, description)
}

/// A task with a title that is cut to fit; nothing of a cut title is lost.
pub(super) fn fit(title: &str, description: Option<&str>) -> Option<NewTask> {
    if title.is_empty() {
        return None;
    }
    let description = description.map(str::trim).filter(|text| !text.is_empty());
    let Some((cut, _)) = title.char_indices().nth(MAX_TITLE) else {
        return Some(NewTask {
            title: title.to_owned(),
            description: description.map(str::to_owned),
        });
    };
    let head = title.get(..cut).unwrap_or(title);
    let at_word = head
        .rfind(char::is_whitespace)
        .filter(|at| *at > 0)
        .unwrap_or(cut);
    let whole = match description {
        Some(more) => format!("{title}\n\n{more}"),
        None => title.to_owned(),
    };
    Some(NewTask {
        title: head.get(..at_word).unwrap_or(head).trim_end().to_owned(),
        description: Some(whole),
    })
}

/// Without the marks that belong to the sentence around it.
pub(super) fn trim(words: &[Token], exact: bool, question: bool) -> &[Token] {
    let mut words = trim_start(words);
    while let [rest @ .., last] = words {
        let sentence = last.is_mark(&[".", ",", ";", ":", "-", ",."])
            || (!exact && last.is_mark(&["!"]))
            || (question && last.is_mark(&["?", "?!"]));
        let polite = !rest.is_empty() && last.is(&["please", "pls", "plz", "thanks", "thx"]);
        if !sentence && !polite {
            break;
        }
        words = rest;
    }
    words
}

fn trim_start(mut words: &[Token]) -> &[Token] {
    while let [first, rest @ ..] = words
        && first.is_mark(&[",", ":", "-", ".", ";", "="])
    {
        words = rest;
    }
    words
}

/// The items of a list with bullets or numbers, a line each.
fn bullets(words: &[Token]) -> Option<Vec<&[Token]>> {
    let mut lines: Vec<&[Token]> = Vec::new();
    let mut start = 0;
    for (at, token) in words.iter().enumerate() {
        if at > 0 && token.new_line {
            lines.push(words.get(start..at)?);
            start = at;
        }
    }
    lines.push(words.get(start..)?);
    let items: Vec<Option<&[Token]>> = lines.iter().map(|line| bullet(line)).collect();
    let marked = items.iter().flatten().count();
    // The first bullet may have been trimmed away; a heading may stand before the first.
    let first_bare =
        matches!(items.as_slice(), [None, rest @ ..] if !rest.is_empty() && rest.iter().all(Option::is_some));
    let heading = lines
        .first()
        .and_then(|line| line.last())
        .is_some_and(|last| last.is_mark(&[":"]));
    if lines.len() < 2 || !(marked == lines.len() || first_bare) {
        return None;
    }
    let first = lines.first().copied().filter(|_| first_bare && !heading);
    Some(first.into_iter().chain(items.into_iter().flatten()).collect())
}

/// The words after a bullet.
fn bullet(line: &[Token]) -> Option<&[Token]> {
    match line {
        [dot, rest @ ..] if dot.is_mark(&["-", "*", "•"]) && !rest.is_empty() => Some(rest),
        [number, dot, rest @ ..]
            if number.number().is_some() && dot.is_mark(&[".", ")", ":"]) && !rest.is_empty() =>
        {
            Some(rest)
        }
        _ => None,
    }
}

/// Several quotations side by side are several titles, else all is one.
fn quotations(words: &[Token]) -> Vec<&[Token]> {
    let parts = parts(words);
    if parts.len() > 1 && parts.iter().all(|part| is_quotation(part)) {
        parts
    } else {
        vec![words]
    }
}

fn is_quotation(part: &[Token]) -> bool {
    matches!(part, [one] if one.kind == Kind::Quoted)
}

/// The titles in a list of titles; or the whole, where it is more likely one.
fn titles(words: &[Token], reading: Reading) -> Vec<&[Token]> {
    let parts = parts(words);
    let commas = words.iter().any(|token| token.is_mark(&[",", ";"]));
    let led = |part: &&[Token]| part.len() > 1 && part.first().is_some_and(|first| is_verb(&first.norm));
    let all_led = parts.iter().all(led);
    let others_led = parts.iter().skip(1).any(led);
    let hanging = parts
        .iter()
        .skip(1)
        .any(|part| part.first().is_some_and(|first| first.is(HANGING)));
    let prose = parts.iter().any(|part| part.is_empty() || part.len() > 14);
    let several = match reading {
        _ if parts.len() < 2 || prose => false,
        _ if parts.iter().all(|part| is_quotation(part)) => true,
        _ if hanging => false,
        Reading::Exact => false,
        Reading::Several => true,
        Reading::One => commas && all_led,
        Reading::Free if commas => others_led || !parts.first().is_some_and(led),
        Reading::Free => all_led || parts.iter().all(|part| part.len() == 1),
    };
    if several { parts } else { vec![words] }
}

/// Words that begin no title of their own after a comma.
const HANGING: &[&str] = &[
    "on",
    "at",
    "by",
    "before",
    "after",
    "with",
    "for",
    "in",
    "from",
    "about",
    "tomorrow",
    "today",
    "tonight",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "then",
    "because",
    "so",
    "but",
    "which",
    "who",
    "if",
    "when",
    "not",
    "or",
    "etc",
    "next",
    "this",
    "preferably",
    "maybe",
    "until",
    "due",
    "asap",
    "urgent",
    "since",
];

/// The parts between commas and the last "and".
fn parts(words: &[Token]) -> Vec<&[Token]> {
    let comma = |token: &Token| token.is_mark(&[",", ";"]);
    let and = |token: &Token| token.is(&["and", "plus"]);
    let commas = words.iter().any(comma);
    let mut parts: Vec<&[Token]> = Vec::new();
    let chunks: Vec<&[Token]> = words.split(comma).collect();
    let last = chunks.len().saturating_sub(1);
    for (at, chunk) in chunks.into_iter().enumerate() {
        let (led, chunk) = match chunk {
            [first, also, rest @ ..] if at > 0 && and(first) && also.is(&["also", "then"]) => (true, rest),
            [first, rest @ ..] if at > 0 && (and(first) || first.is(&["also"])) => (true, rest),
            _ => (false, chunk),
        };
        if !commas || (at == last && !led) {
            parts.extend(chunk.split(and).filter(|part| !part.is_empty()));
        } else {
            parts.push(chunk);
        }
    }
    if parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}
