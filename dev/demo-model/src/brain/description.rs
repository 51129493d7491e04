//! Parts the words of a new task into title and description.

use super::{
    lexicon::is_verb,
    token::{Kind, Token},
};

/// Title and description, where the words tell them apart.
pub(super) fn described(words: &[Token]) -> Option<(&[Token], &[Token])> {
    if let [quote, mark, rest @ ..] = words
        && quote.kind == Kind::Quoted
        && mark.is_mark(&[":", "-"])
        && !rest.is_empty()
    {
        return words
            .split_at_checked(1)
            .map(|(title, _)| (title, described_as(rest)));
    }
    (1..words.len()).find_map(|at| described_at(words, at))
}

/// Skips "description:" at the start.
fn described_as(words: &[Token]) -> &[Token] {
    match words {
        [word, mark, rest @ ..]
            if word.is(&["description", "desc", "note", "notes"]) && mark.is_mark(&[":"]) =>
        {
            rest
        }
        _ => words,
    }
}

const STRONG: &[&str] = &["description", "desc", "descr"];
const WEAK: &[&str] = &["note", "notes", "detail", "details", "memo", "comment"];
const LINKS: &[&str] = &[
    "of", "is", "as", "saying", "says", "that", "reading", "being", "should", "be", "set", "to",
];

/// Title and description, if the word at `at` parts them.
fn described_at(words: &[Token], at: usize) -> Option<(&[Token], &[Token])> {
    let word = words.get(at)?;
    let strong = word.is(STRONG);
    if !strong && !word.is(WEAK) {
        return None;
    }
    let mut start = at;
    while start > 0
        && words
            .get(start - 1)?
            .is(&["a", "an", "the", "its", "as", "this", "following", "short"])
    {
        start -= 1;
    }
    let before = words.get(start.checked_sub(1)?)?;
    let joined = before.is(&["with", "and", "plus", "having", "including"])
        || before.is_mark(&[",", "-", ".", ";", "("]);
    let next = words.get(at + 1)?;
    let colon = next.is_mark(&[":", "=", "-"]);
    let said = colon || next.kind == Kind::Quoted || next.is(&["saying", "says", "of", "that"]);
    let bare = strong && start == at && !next.is(&["of", "for"]) && !is_verb(&before.norm);
    if !((joined && (strong || said)) || colon || bare) {
        return None;
    }
    let title = words.get(..if joined { start - 1 } else { start })?;
    let mut rest = words.get(at + 1..)?;
    while let [first, more @ ..] = rest
        && (first.is_mark(&[":", "=", "-"]) || first.is(LINKS))
        && !more.is_empty()
    {
        let ends = first.kind == Kind::Mark;
        rest = more;
        if ends {
            break;
        }
    }
    if let [most @ .., last] = rest
        && before.is_mark(&["("])
        && last.is_mark(&[")"])
    {
        rest = most;
    }
    (!title.is_empty() && !rest.is_empty()).then_some((title, rest))
}
