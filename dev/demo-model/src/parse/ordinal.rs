//! Numbers and positions in words: "three", "1-3", "the last two", "second to last".

use super::token::Token;
use crate::action::Ref;

const ORDINALS: &[&str] = &[
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
];
const SHORT_ORDINALS: &[&str] = &[
    "1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th", "10th",
];
const CARDINALS: &[&str] = &[
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
];

/// Parses positions: `first`, `1st`, `last two`, `second to last`, `latest`. Removes the words it uses from `rest`.
pub(crate) fn ordinal(first: &Token, rest: &mut &[Token]) -> Option<Vec<Ref>> {
    let nth = nth_of(ORDINALS, first).or_else(|| nth_of(SHORT_ORDINALS, first));
    if let Some(nth) = nth {
        if let [to, last, more @ ..] = *rest
            && to.is(&["to", "from"])
            && last.is(&["last"])
        {
            *rest = more;
            return Some(vec![Ref::Nth(-nth)]);
        }
        if nth == 1
            && let Some(count) = count(rest)
        {
            return Some((1..=count).map(Ref::Nth).collect());
        }
        return Some(vec![Ref::Nth(nth)]);
    }
    if first.is(&["last", "latest", "newest", "final", "bottom", "previous"]) {
        let count = count(rest).unwrap_or(1);
        return Some((1..=count).rev().map(|nth| Ref::Nth(-nth)).collect());
    }
    first.is(&["top"]).then(|| vec![Ref::Nth(1)])
}

/// Parses the count in "first two".
fn count(rest: &mut &[Token]) -> Option<i64> {
    let [first, more @ ..] = *rest else { return None };
    let count = first
        .number()
        .or_else(|| nth_of(CARDINALS, first))
        .filter(|count| (2..=20).contains(count))?;
    *rest = more;
    Some(count)
}

fn nth_of(words: &[&str], token: &Token) -> Option<i64> {
    let at = words.iter().position(|word| *word == token.norm)?;
    i64::try_from(at).ok().map(|at| at + 1)
}

/// Parses a range without spaces: `1-3`.
pub(crate) fn range(word: &str) -> Option<(i64, i64)> {
    let (from, to) = word.split_once(['-', '–'])?;
    Some((
        from.trim_start_matches('#').parse().ok()?,
        to.trim_start_matches('#').parse().ok()?,
    ))
}

/// Parses a number in words, from one to ten.
pub(crate) fn cardinal(token: &Token) -> Option<i64> {
    nth_of(CARDINALS, token)
}
