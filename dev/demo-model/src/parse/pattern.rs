//! The pattern language of the rules.
//!
//! A pattern is a list of elements separated by spaces and must match a whole clause:
//!
//! | element | matches |
//! |---|---|
//! | `add\|create` | one of these words |
//! | `$SET` | a word of a named set of the lexicon |
//! | `word?`, `word*`, `word+` | an optional word, any number of words, at least one word |
//! | `#` | a number |
//! | `:`, `:?` | a colon, an optional colon |
//! | `<t>` | one or more tokens, captured under the letter `t` |
//!
//! Punctuation between words is skipped.

use std::ops::Range;

use super::{
    lexicon,
    token::{Kind, Token},
};

#[derive(Debug)]
pub(crate) struct Pattern(Vec<Element>);

#[derive(Debug)]
enum Element {
    Words {
        words: Vec<&'static str>,
        number: bool,
        min: usize,
        max: usize,
    },
    Colon {
        required: bool,
    },
    Capture(char),
}

/// Captured token ranges, by letter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Captures(Vec<(char, Range<usize>)>);

impl Captures {
    /// The tokens captured under `letter`.
    pub(crate) fn get<'t>(&self, letter: char, tokens: &'t [Token]) -> Option<&'t [Token]> {
        let (_, range) = self.0.iter().find(|(name, _)| *name == letter)?;
        tokens.get(range.clone())
    }
}

impl Pattern {
    pub(crate) fn new(source: &'static str) -> Self {
        Self(
            source
                .split(' ')
                .filter(|piece| !piece.is_empty())
                .map(element)
                .collect(),
        )
    }

    /// The captures, if the pattern matches all of `tokens`.
    pub(crate) fn matches(&self, tokens: &[Token]) -> Option<Captures> {
        let mut captures = Captures::default();
        matches(&self.0, tokens, 0, &mut captures).then_some(captures)
    }
}

fn element(piece: &'static str) -> Element {
    match piece {
        ":" => return Element::Colon { required: true },
        ":?" => return Element::Colon { required: false },
        _ => {}
    }
    if let Some(letter) = piece.strip_prefix('<').and_then(|rest| rest.chars().next()) {
        return Element::Capture(letter);
    }
    let (body, min, max) = match piece.chars().next_back() {
        Some('?') => (piece.trim_end_matches('?'), 0, 1),
        Some('*') => (piece.trim_end_matches('*'), 0, usize::MAX),
        Some('+') => (piece.trim_end_matches('+'), 1, usize::MAX),
        _ => (piece, 1, 1),
    };
    let mut words = Vec::new();
    let mut number = false;
    for word in body.split('|') {
        match word.strip_prefix('$') {
            Some(set) => words.extend(lexicon::set(set)),
            None if word == "#" => number = true,
            None => words.push(word),
        }
    }
    Element::Words {
        words,
        number,
        min,
        max,
    }
}

/// Index of the next token that isn't punctuation.
fn skip_marks(tokens: &[Token], mut at: usize) -> usize {
    while tokens
        .get(at)
        .is_some_and(|token| token.kind == Kind::Mark || token.norm.is_empty())
    {
        at += 1;
    }
    at
}

fn matches(elements: &[Element], tokens: &[Token], at: usize, captures: &mut Captures) -> bool {
    let Some((element, rest)) = elements.split_first() else {
        return skip_marks(tokens, at) >= tokens.len();
    };
    match element {
        Element::Colon { required } => {
            if tokens
                .get(at)
                .is_some_and(|token| token.is_mark(&[":", "-", "="]))
            {
                matches(rest, tokens, at + 1, captures)
            } else {
                !required && matches(rest, tokens, at, captures)
            }
        }
        Element::Words {
            words,
            number,
            min,
            max,
        } => {
            // The end positions after 0, 1, 2, … words. Tries the longest match first, then backtracks.
            let mut ends = vec![at];
            let mut next = skip_marks(tokens, at);
            while ends.len() <= *max
                && let Some(token) = tokens.get(next)
                && (token.is(words) || (*number && token.number().is_some()))
            {
                ends.push(next + 1);
                next = skip_marks(tokens, next + 1);
            }
            (ends.len() > *min)
                && ends
                    .iter()
                    .skip(*min)
                    .rev()
                    .any(|end| matches(rest, tokens, *end, captures))
        }
        Element::Capture(letter) => {
            if rest.is_empty() {
                return at < tokens.len() && capture(*letter, at..tokens.len(), captures);
            }
            let kept = captures.0.len();
            (at + 1..=tokens.len()).any(|end| {
                captures.0.truncate(kept);
                capture(*letter, at..end, captures) && matches(rest, tokens, end, captures)
            })
        }
    }
}

fn capture(letter: char, range: Range<usize>, captures: &mut Captures) -> bool {
    captures.0.push((letter, range));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::token::{source_text, tokens};

    fn captured(pattern: &'static str, text: &str, letter: char) -> Option<String> {
        let tokens = tokens(text);
        let captures = Pattern::new(pattern).matches(&tokens)?;
        Some(source_text(text, captures.get(letter, &tokens)?).to_owned())
    }

    #[test]
    fn elements_match_as_documented() {
        let table = [
            ("mark <t> as done", "mark task 2 as done", 't', Some("task 2")),
            ("mark <t> as done", "Mark task 2, as done!", 't', Some("task 2")),
            ("mark <t> as done", "mark as done", 't', None),
            ("rename <t> to <x>", "rename A to B to C", 'x', Some("B to C")),
            ("task # <x>", "task 12 now", 'x', Some("now")),
            ("task # <x>", "task twelve now", 'x', None),
            ("add a? new* <x>", "add a new new thing", 'x', Some("thing")),
            ("todo : <x>", "todo: milk", 'x', Some("milk")),
            ("todo : <x>", "todo milk", 'x', None),
        ];
        for (pattern, text, letter, expected) in table {
            assert_eq!(
                captured(pattern, text, letter).as_deref(),
                expected,
                "{pattern} / {text}"
            );
        }
    }
}
