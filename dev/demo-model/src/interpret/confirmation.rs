//! Recognizes messages that only say yes or no.

use crate::parse::token::{Kind, Token};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmation {
    Yes,
    No,
    Neither,
}

/// Words that mean yes.
const YES: &[&str] = &[
    "yes",
    "y",
    "yeah",
    "yep",
    "yup",
    "ya",
    "yea",
    "yess",
    "yse",
    "ye",
    "sure",
    "ok",
    "okay",
    "k",
    "confirm",
    "confirmed",
    "affirmative",
    "absolutely",
    "definitely",
    "certainly",
    "course",
    "proceed",
    "correct",
    "right",
    "fine",
    "alright",
    "indeed",
    "👍",
    "aye",
    "please",
    "ahead",
    "sí",
    "si",
    "oui",
    "ja",
    "exactly",
    "positive",
];
/// Words that mean no.
const NO: &[&str] = &[
    "no",
    "n",
    "nope",
    "nah",
    "dont",
    "not",
    "stop",
    "cancel",
    "never",
    "nevermind",
    "nvm",
    "wait",
    "keep",
    "leave",
    "negative",
    "abort",
    "forget",
    "hold",
    "👎",
    "nein",
    "non",
    "neither",
    "none",
];
/// Words that may surround a yes or no.
const NEUTRAL: &[&str] = &[
    "go",
    "do",
    "it",
    "for",
    "of",
    "that",
    "thats",
    "delete",
    "remove",
    "them",
    "both",
    "all",
    "those",
    "these",
    "thanks",
    "thank",
    "you",
    "i",
    "am",
    "im",
    "sounds",
    "good",
    "now",
    "the",
    "task",
    "tasks",
    "this",
    "want",
    "to",
    "we",
    "can",
    "may",
    "and",
    "one",
    "then",
    "very",
    "much",
    "erase",
    "totally",
    "is",
    "are",
    "with",
    "agree",
    "me",
    "just",
    "mean",
    "a",
    "lot",
    "so",
    "on",
    "let",
    "lets",
    "hi",
    "errand",
    "great",
    "perfect",
    "would",
    "like",
    "as",
    "said",
    "too",
    "oh",
    "well",
    "anyway",
    "clean",
    "away",
    "rid",
    "get",
    "happy",
    "my",
    "permission",
    "have",
    "due",
    "delte",
    "delet",
];

pub(crate) fn confirmation(words: &[Token]) -> Confirmation {
    let words: Vec<&Token> = words
        .iter()
        .filter(|token| token.kind != Kind::Mark && !token.norm.is_empty())
        .collect();
    if words.is_empty() || words.len() > 12 {
        return Confirmation::Neither;
    }
    let known = words
        .iter()
        .all(|word| word.is(YES) || word.is(NO) || word.is(NEUTRAL));
    let no = words.iter().any(|word| word.is(NO));
    let yes = words.iter().any(|word| word.is(YES));
    let do_it = words.len() <= 4
        && words
            .first()
            .is_some_and(|first| first.is(&["do", "go", "delete", "remove", "let"]))
        && words.len() > 1;
    match (known, no, yes || do_it) {
        (true, true, false) => Confirmation::No,
        (true, true, true) if words.first().is_some_and(|first| first.is(NO)) => Confirmation::No,
        (true, false, true) => Confirmation::Yes,
        _ => Confirmation::Neither,
    }
}
