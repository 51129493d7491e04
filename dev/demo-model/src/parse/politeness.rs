//! Removes polite phrases around a request, so that the rules need not match them.

use std::sync::LazyLock;

use super::{
    pattern::Pattern,
    token::{Kind, Token},
};

/// A clause after the removal of polite phrases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stripped<'t> {
    pub(crate) tokens: &'t [Token],
    /// Whether a removed phrase made the clause a question.
    pub(crate) question: bool,
    /// Factor for the score if the request does not identify its task: "I need to finish the report" is more likely a new
    /// task than a completed one.
    pub(crate) weight: f32,
}

/// Polite prefixes: the pattern, which captures the rest as `r`; whether it makes a question; and the weight of the rest.
const PREFIXES: &[(&str, bool, f32)] = &[
    (
        "can|could|will|would|may|might you|u|i|we please|kindly|just|maybe|also|help|me|to* <r>",
        true,
        1.0,
    ),
    (
        "please|pls|plz|kindly|just|only|also|then|and|now|next|ok|okay|alright|so|well|um|uh|hmm|oh|hey|hi|hello|there|yo|\
         errand|finally|firstly|secondly|lastly|plus|actually|quickly|yes|yeah|yep|sure|no|nope|great|thanks|cool|perfect|\
         afterwards|too|but|first|wait|oops|morning|good|thank|you+ <r>",
        false,
        1.0,
    ),
    ("i|id would|d|want|like|love|need+ you to please? <r>", false, 1.0),
    ("go ahead and <r>", false, 1.0),
    ("would you mind <r>", true, 1.0),
    ("do me a favor|favour and? <r>", false, 1.0),
    ("is it possible to <r>", true, 1.0),
    ("let me <r>", false, 1.0),
    (
        "i|we|id want|would|like|love|d|also|now|really|just+ to <r>",
        false,
        0.95,
    ),
    ("i|we wanna <r>", false, 0.95),
    (
        "i|we|id want|need|would|like|have|also|now|really|just|d|am|going|should|must+ to <r>",
        false,
        0.6,
    ),
    ("i|we gotta|should|must <r>", false, 0.6),
    ("lets|let us? <r>", false, 0.6),
    ("help me to? <r>", false, 1.0),
];

/// Returns the clause unchanged and, one after another, with each polite phrase removed.
pub(crate) fn strip_politeness(tokens: &[Token]) -> Vec<Stripped<'_>> {
    static COMPILED: LazyLock<Vec<(Pattern, bool, f32)>> = LazyLock::new(|| {
        PREFIXES
            .iter()
            .map(|(source, question, weight)| (Pattern::new(source), *question, *weight))
            .collect()
    });
    let mut current = Stripped {
        tokens,
        question: false,
        weight: 1.0,
    };
    let mut variants = vec![current];
    // "Hey, could you please just …" needs three rounds.
    for _ in 0..4 {
        let shorter = COMPILED.iter().find_map(|(pattern, question, weight)| {
            let tokens = rest_after(pattern, current.tokens)?;
            Some(Stripped {
                tokens,
                question: current.question || *question,
                weight: current.weight.min(*weight),
            })
        });
        let Some(shorter) = shorter else { break };
        current = shorter;
        variants.push(current);
    }
    let without_endings: Vec<Stripped<'_>> = variants
        .iter()
        .filter_map(|variant| {
            Some(Stripped {
                tokens: without_polite_ending(variant.tokens)?,
                ..*variant
            })
        })
        .collect();
    variants.extend(without_endings);
    variants
}

/// Returns the tokens after a prefix.
fn rest_after<'t>(prefix: &Pattern, tokens: &'t [Token]) -> Option<&'t [Token]> {
    let rest = prefix.matches(tokens)?.get('r', tokens)?;
    let start = rest.iter().position(|token| token.kind != Kind::Mark)?;
    rest.get(start..)
}

/// Removes "please", "thank you" and the like from the end, if other words remain.
fn without_polite_ending(tokens: &[Token]) -> Option<&[Token]> {
    let mut rest = tokens;
    while let [shorter @ .., last] = rest
        && (last.kind == Kind::Mark
            || last.is(&[
                "please", "pls", "plz", "thanks", "thx", "thank", "you", "kindly", "instead", "too", "now",
                "then", "anyway",
            ]))
    {
        rest = shorter;
    }
    let polite = tokens
        .get(rest.len()..)?
        .iter()
        .any(|token| token.kind == Kind::Word);
    (polite && !rest.is_empty()).then_some(rest)
}
