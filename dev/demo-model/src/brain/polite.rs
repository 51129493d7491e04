//! The politeness around a wish: what may be taken away before the rules are asked.

use std::sync::LazyLock;

use super::{
    pattern::Pattern,
    token::{Kind, Token},
};

/// A clause with some politeness taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'t> {
    pub(super) tokens: &'t [Token],
    /// Whether what was taken away made it a question.
    pub(super) question: bool,
    /// What a score is worth where the wish does not say by itself what it is about: "I need to finish the report" is
    /// rather something to add.
    pub(super) weight: f32,
}

/// Prefixes: the pattern, with the rest as `r`, whether it asks, and the weight of what comes after.
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

/// The clause as it is, and with more and more politeness taken away.
pub(super) fn bodies(tokens: &[Token]) -> Vec<Body<'_>> {
    static COMPILED: LazyLock<Vec<(Pattern, bool, f32)>> = LazyLock::new(|| {
        PREFIXES
            .iter()
            .map(|(source, question, weight)| (Pattern::new(source), *question, *weight))
            .collect()
    });
    let mut body = Body {
        tokens,
        question: false,
        weight: 1.0,
    };
    let mut bodies = vec![body];
    // "hey, could you please just …" takes three rounds.
    for _ in 0..4 {
        let shorter = COMPILED.iter().find_map(|(pattern, question, weight)| {
            let tokens = after(pattern, body.tokens)?;
            Some(Body {
                tokens,
                question: body.question || *question,
                weight: body.weight.min(*weight),
            })
        });
        let Some(shorter) = shorter else { break };
        body = shorter;
        bodies.push(body);
    }
    let thankless: Vec<Body<'_>> = bodies
        .iter()
        .filter_map(|body| {
            Some(Body {
                tokens: without_thanks(body.tokens)?,
                ..*body
            })
        })
        .collect();
    bodies.extend(thankless);
    bodies
}

/// What a prefix leaves over.
fn after<'t>(prefix: &Pattern, tokens: &'t [Token]) -> Option<&'t [Token]> {
    let rest = prefix.matches(tokens)?.get('r', tokens)?;
    let start = rest.iter().position(|token| token.kind != Kind::Mark)?;
    rest.get(start..)
}

/// Without "please" or "thank you" at the end, if something else is left.
fn without_thanks(tokens: &[Token]) -> Option<&[Token]> {
    let mut rest = tokens;
    while let [most @ .., last] = rest
        && (last.kind == Kind::Mark
            || last.is(&[
                "please", "pls", "plz", "thanks", "thx", "thank", "you", "kindly", "instead", "too", "now",
                "then", "anyway",
            ]))
    {
        rest = most;
    }
    let polite = tokens
        .get(rest.len()..)?
        .iter()
        .any(|token| token.kind == Kind::Word);
    (polite && !rest.is_empty()).then_some(rest)
}
