//! Extracts new tasks from the text after "add": one title or several, possibly with a description.

use super::{
    description::{split_description, split_sentence},
    lexicon::is_verb,
    token::{Kind, Token, source_text},
};
use crate::action::NewTask;

/// Maximum length of a title in characters.
const MAX_TITLE: usize = 255;

/// How readily a text is split into several titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TitleMode {
    /// Never, except between quotations: the text after "a task called …".
    Exact,
    /// Only if every part starts with a verb: the text after "a task to …".
    One,
    /// If the parts look like titles: the text after "add …".
    Free,
    /// Always: the text after "tasks: …".
    Several,
}

/// Returns the tasks described by `words`, which are tokens of `text`. If `question` is set, a question mark at the end
/// belongs to the request ("can you add …?") and not to the title.
pub(crate) fn new_tasks(text: &str, words: &[Token], mode: TitleMode, question: bool) -> Vec<NewTask> {
    let words = trim(words, mode == TitleMode::Exact, question);
    if let Some(items) = bullets(words) {
        return items
            .into_iter()
            .filter_map(|item| new_task(text, trim(item, false, false), None))
            .collect();
    }
    if let Some((title, description)) = split_description(words) {
        let description = source_text(text, trim_start(description)).trim();
        return new_task(text, trim(title, false, question), Some(description))
            .into_iter()
            .collect();
    }
    if let Some(at) = words.iter().skip(1).position(|token| token.new_line)
        && let Some((title, rest)) = words.split_at_checked(at + 1)
    {
        return new_task(text, trim(title, false, false), Some(source_text(text, rest)))
            .into_iter()
            .collect();
    }
    if let Some((title, details)) = split_sentence(text, words, question) {
        let mut tasks = new_tasks(text, title, mode, question);
        if let Some(task) = tasks.pop() {
            let details = match &task.description {
                Some(description) => format!("{description}\n{}", source_text(text, details)),
                None => source_text(text, details).to_owned(),
            };
            tasks.extend(fit(&task.title, Some(&details)));
        }
        return tasks;
    }
    let items = if mode == TitleMode::Exact {
        quotations(words)
    } else {
        titles(words, mode)
    };
    items
        .into_iter()
        .filter_map(|item| new_task(text, trim(item, mode == TitleMode::Exact, question), None))
        .collect()
}

fn new_task(text: &str, words: &[Token], description: Option<&str>) -> Option<NewTask> {
    let title = source_text(text, words).trim();
    fit(title, description)
}

/// Returns a task with this title. A title that is too long is cut at a word, and its full text becomes part of the
/// description.
pub(crate) fn fit(title: &str, description: Option<&str>) -> Option<NewTask> {
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

/// Removes punctuation and polite words that belong to the request and not to the title.
pub(crate) fn trim(words: &[Token], exact: bool, question: bool) -> &[Token] {
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

/// Returns the items of a bulleted or numbered list with one item per line.
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
    // The first line may be a heading, or an item whose bullet was trimmed.
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

/// Returns the words after a bullet or number.
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

/// Splits a list of quotations into titles. Any other text is one title.
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

/// Splits a list of titles, unless the text is more likely a single title.
fn titles(words: &[Token], mode: TitleMode) -> Vec<&[Token]> {
    let parts = parts(words);
    let commas = words.iter().any(|token| token.is_mark(&[",", ";"]));
    let starts_with_verb =
        |part: &&[Token]| part.len() > 1 && part.first().is_some_and(|first| is_verb(&first.norm));
    let all_verbs = parts.iter().all(starts_with_verb);
    let later_verbs = parts.iter().skip(1).any(starts_with_verb);
    let continued = parts
        .iter()
        .skip(1)
        .any(|part| part.first().is_some_and(|first| first.is(CONTINUATIONS)));
    let prose = parts.iter().any(|part| part.is_empty() || part.len() > 14);
    let several = match mode {
        _ if parts.len() < 2 || prose => false,
        _ if parts.iter().all(|part| is_quotation(part)) => true,
        _ if continued => false,
        TitleMode::Exact => false,
        TitleMode::Several => true,
        TitleMode::One => commas && all_verbs,
        TitleMode::Free if commas => later_verbs || !parts.first().is_some_and(starts_with_verb),
        TitleMode::Free => all_verbs || parts.iter().all(|part| part.len() == 1),
    };
    if several { parts } else { vec![words] }
}

/// Words that continue a title after a comma instead of starting a new one.
const CONTINUATIONS: &[&str] = &[
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

/// Splits at commas and at the last "and".
fn parts(words: &[Token]) -> Vec<&[Token]> {
    let comma = |token: &Token| token.is_mark(&[",", ";"]);
    let and = |token: &Token| token.is(&["and", "plus"]);
    let commas = words.iter().any(comma);
    let mut parts: Vec<&[Token]> = Vec::new();
    let chunks: Vec<&[Token]> = words.split(comma).collect();
    let last = chunks.len().saturating_sub(1);
    for (at, chunk) in chunks.into_iter().enumerate() {
        let (has_link, chunk) = match chunk {
            [first, also, rest @ ..] if at > 0 && and(first) && also.is(&["also", "then"]) => (true, rest),
            [first, rest @ ..] if at > 0 && (and(first) || first.is(&["also"])) => (true, rest),
            _ => (false, chunk),
        };
        if !commas || (at == last && !has_link) {
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
