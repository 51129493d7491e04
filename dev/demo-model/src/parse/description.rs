//! Splits the text of a new task into a title and a description.

use super::{
    lexicon::is_verb,
    token::{Kind, Token},
};

/// Returns the title and the description, if words such as "with description" or a colon after a quotation separate them.
pub(crate) fn split_description(words: &[Token]) -> Option<(&[Token], &[Token])> {
    if let [quote, mark, rest @ ..] = words
        && quote.kind == Kind::Quoted
        && mark.is_mark(&[":", "-"])
        && !rest.is_empty()
    {
        return words
            .split_at_checked(1)
            .map(|(title, _)| (title, skip_label(rest)));
    }
    (1..words.len()).find_map(|at| split_at(words, at))
}

/// Skips a leading "description:".
fn skip_label(words: &[Token]) -> &[Token] {
    match words {
        [word, mark, rest @ ..]
            if word.is(&["description", "desc", "note", "notes"]) && mark.is_mark(&[":"]) =>
        {
            rest
        }
        _ => words,
    }
}

/// Words that introduce a description.
const STRONG: &[&str] = &["description", "desc", "descr"];
/// Words that introduce a description only with a colon, a quotation or the like.
const WEAK: &[&str] = &["note", "notes", "detail", "details", "memo", "comment"];
/// Words between "description" and its text.
const LINKS: &[&str] = &[
    "of", "is", "as", "saying", "says", "that", "reading", "being", "should", "be", "set", "to",
];

/// Returns the title and the description if the word at `at` separates them.
fn split_at(words: &[Token], at: usize) -> Option<(&[Token], &[Token])> {
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
    let introduced = colon || next.kind == Kind::Quoted || next.is(&["saying", "says", "of", "that"]);
    let bare = strong && start == at && !next.is(&["of", "for"]) && !is_verb(&before.norm);
    if !((joined && (strong || introduced)) || colon || bare) {
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
    if let [inner @ .., last] = rest
        && before.is_mark(&["("])
        && last.is_mark(&[")"])
    {
        rest = inner;
    }
    (!title.is_empty() && !rest.is_empty()).then_some((title, rest))
}

/// Abbreviations that end with a full stop.
const ABBREVIATIONS: &[&str] = &[
    "dr", "mr", "mrs", "ms", "prof", "st", "no", "nr", "vs", "etc", "inc", "ltd", "co", "ave", "approx",
    "tel", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue",
    "wed", "thu", "fri", "sat", "sun",
];

/// Returns the first sentence and the rest, which contains details: "buy milk. The blue one from the corner shop." If
/// `question` is set, the first sentence may end with a question mark.
pub(crate) fn split_sentence<'t>(
    text: &str,
    words: &'t [Token],
    question: bool,
) -> Option<(&'t [Token], &'t [Token])> {
    (1..words.len()).find_map(|at| {
        let (before, rest) = words.split_at_checked(at)?;
        let (mark, rest) = rest.split_first()?;
        let ends = mark.is_mark(&[".", "!"]) || (question && mark.is_mark(&["?"]));
        let is_capitalized = text
            .get(rest.first()?.start..)?
            .chars()
            .next()
            .is_some_and(char::is_uppercase);
        let last = before.last()?;
        let is_word = match last.kind {
            Kind::Quoted => true,
            Kind::Word if last.number().is_some() => is_capitalized && at > 1,
            Kind::Word => {
                let length = last.norm.chars().count();
                (length > 2 || (length > 1 && is_capitalized))
                    && !last.norm.contains('.')
                    && !last.is(ABBREVIATIONS)
            }
            Kind::Mark => false,
        };
        (ends && is_word && rest.iter().any(|token| token.kind != Kind::Mark)).then_some((before, rest))
    })
}
