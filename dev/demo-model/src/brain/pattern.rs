//! A small language of patterns over tokens, so that the rules are a table.
//!
//! Elements are parted by spaces: `add|create` one of these words, `$SET` one of a named set, `word?` perhaps,
//! `word*` any number, `word+` at least one, `#` a number, `:` or `:?` a colon, `<t>` one or more tokens that are
//! captured under that letter. Between words, marks are skipped. A pattern matches all of a clause.

use std::ops::Range;

use super::{
    lexicon,
    token::{Kind, Token},
};

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Element>);

#[derive(Debug)]
enum Element {
    Words {
        words: Vec<&'static str>,
        number: bool,
        least: usize,
        most: usize,
    },
    Colon {
        needed: bool,
    },
    Capture(char),
}

/// What was captured, by letter.
#[derive(Debug, Clone, Default)]
pub(super) struct Captures(Vec<(char, Range<usize>)>);

impl Captures {
    /// The tokens captured under `letter`.
    pub(super) fn get<'t>(&self, letter: char, tokens: &'t [Token]) -> Option<&'t [Token]> {
        let (_, range) = self.0.iter().find(|(name, _)| *name == letter)?;
        tokens.get(range.clone())
    }
}

impl Pattern {
    /// Compiles a pattern of the table.
    pub(super) fn new(source: &'static str) -> Self {
        Self(
            source
                .split(' ')
                .filter(|piece| !piece.is_empty())
                .map(element)
                .collect(),
        )
    }

    /// The captures, if the pattern matches all of `tokens`.
    pub(super) fn matches(&self, tokens: &[Token]) -> Option<Captures> {
        let mut captures = Captures::default();
        matches(&self.0, tokens, 0, &mut captures).then_some(captures)
    }
}

fn element(piece: &'static str) -> Element {
    match piece {
        ":" => return Element::Colon { needed: true },
        ":?" => return Element::Colon { needed: false },
        _ => {}
    }
    if let Some(letter) = piece.strip_prefix('<').and_then(|rest| rest.chars().next()) {
        return Element::Capture(letter);
    }
    let (body, least, most) = match piece.chars().next_back() {
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
        least,
        most,
    }
}

/// The next token that is no mark.
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
        Element::Colon { needed } => {
            if tokens
                .get(at)
                .is_some_and(|token| token.is_mark(&[":", "-", "="]))
            {
                matches(rest, tokens, at + 1, captures)
            } else {
                !needed && matches(rest, tokens, at, captures)
            }
        }
        Element::Words {
            words,
            number,
            least,
            most,
        } => {
            // The ends of the first, second, … word taken; as many as possible first, then fewer.
            let mut ends = vec![at];
            let mut next = skip_marks(tokens, at);
            while ends.len() <= *most
                && let Some(token) = tokens.get(next)
                && (token.is(words) || (*number && token.number().is_some()))
            {
                ends.push(next + 1);
                next = skip_marks(tokens, next + 1);
            }
            (ends.len() > *least)
                && ends
                    .iter()
                    .skip(*least)
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
    use crate::brain::token::{exact, tokens};

    fn captured(pattern: &'static str, text: &str, letter: char) -> Option<String> {
        let tokens = tokens(text);
        let captures = Pattern::new(pattern).matches(&tokens)?;
        Some(exact(text, captures.get(letter, &tokens)?).to_owned())
    }

    #[test]
    fn elements_match_as_told() {
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
