//! Parts a message into clauses that each want one thing.

use super::{
    action::{Action, Talk},
    intent::{HIGH, Intent, MEDIUM, is_firm, read},
    lexicon::is_verb,
    token::{Token, tokens},
};

/// Words that a new wish may begin with, politeness aside.
const OPENERS: &[&str] = &[
    "add", "create", "make", "put", "remind", "new", "insert", "append", "note", "show", "list", "display",
    "view", "see", "get", "give", "tell", "what", "whats", "which", "how", "do", "is", "find", "search",
    "mark", "set", "complete", "finish", "check", "tick", "cross", "close", "delete", "remove", "erase",
    "drop", "cancel", "clear", "rename", "change", "update", "edit", "modify", "call", "replace", "describe",
    "reopen", "undo", "uncheck", "untick", "unmark", "restore", "i", "ive", "im", "dont", "task", "take",
    "please", "can", "could", "also", "then", "hi", "hello", "hey", "thanks", "thank", "scratch", "strike",
    "get", "my", "write", "attach", "move", "throw", "bye", "yes", "no", "nope", "yeah",
];

/// What each clause of `text` wants, in order. Never empty.
pub(super) fn intents(text: &str) -> Vec<Intent> {
    let all = tokens(text);
    let mut intents = Vec::new();
    let mut rest: &[Token] = &all;
    while !rest.is_empty() {
        let (clause, tail) = first_clause(text, rest);
        intents.push(clause);
        rest = tail;
    }
    if intents.is_empty() {
        intents.push(Intent {
            action: Action::Talk(Talk::Unclear),
            score: 0.0,
        });
    }
    intents
}

/// Places at which a clause may end that are looked at; each costs two readings.
const MOST_PLACES: usize = 40;

/// The first clause of `words`, and what comes after it.
fn first_clause<'t>(text: &str, words: &'t [Token]) -> (Intent, &'t [Token]) {
    let places = (1..words.len()).filter_map(|at| {
        let (next, sentence) = boundary(words, at)?;
        let (left, right) = (words.get(..at)?, words.get(next..)?);
        may_open(right).then_some((left, right, sentence))
    });
    for (left, right, sentence) in places.take(MOST_PLACES) {
        let before = read(text, left);
        let unclear = before.action == Action::Talk(Talk::Unclear);
        if before.score < MEDIUM && !(sentence && unclear) {
            continue;
        }
        let after = read(text, next_piece(right));
        if unclear && !(after.score >= HIGH && is_firm(&after.action)) {
            continue;
        }
        if parts(&before, &after, sentence, left) {
            return (before, right);
        }
    }
    (read(text, words), &[])
}

/// The words up to the next place where a wish may begin.
fn next_piece(words: &[Token]) -> &[Token] {
    let opens = |at: &usize| {
        let next = boundary(words, *at).and_then(|(next, _)| words.get(next..));
        next.is_some_and(may_open)
    };
    let end = (1..words.len()).find(opens).unwrap_or(words.len());
    words.get(..end).unwrap_or(words)
}

/// Where the next clause would begin if one ended before `at`; whether a sentence ends there.
fn boundary(words: &[Token], at: usize) -> Option<(usize, bool)> {
    const LINKS: &[&str] = &["and", "then", "also", "plus", "but", "afterwards", "after"];
    let here = words.get(at)?;
    let sentence = here.is_mark(&[".", "!", "?", ";", "!!", "?!", "..", "..."]);
    let link = here.is_mark(&[","]) || here.is(LINKS);
    if !(sentence || link || here.new_line) {
        return None;
    }
    let mut next = if sentence || link { at + 1 } else { at };
    while words
        .get(next)
        .is_some_and(|token| token.is(LINKS) || token.is_mark(&[","]))
    {
        next += 1;
    }
    (next < words.len()).then_some((next, sentence || here.new_line))
}

/// A cheap look at whether a wish may begin here.
fn may_open(words: &[Token]) -> bool {
    let Some(first) = words.first() else { return false };
    first.is(OPENERS) || super::lexicon::corrected(&first.norm).is_some() || goes_on(words)
}

/// "… and 3 as done", "… and the description to …", "… and a task called …" go on without a verb.
fn goes_on(words: &[Token]) -> bool {
    let [first, second, ..] = words else { return false };
    let third = words
        .get(2)
        .is_some_and(|third| third.is(&["called", "named", "titled", "to", "for"]));
    (first.is_number() && second.is(&["as", "is", "to"]))
        || (first.is(&["the", "its"]) && second.is(&["description", "desc", "notes"]))
        || (first.is(&["a", "another", "one"]) && second.is(&["task", "todo", "reminder", "item"]) && third)
}

impl Token {
    fn is_number(&self) -> bool {
        self.number().is_some()
    }
}

/// Whether two clauses are two wishes, rather than one whose words go on.
fn parts(before: &Intent, after: &Intent, sentence: bool, left: &[Token]) -> bool {
    if let Action::Talk(talk) = &after.action {
        // A farewell or a thank-you after a sentence is one; other talk in the middle is part of a title.
        let aside = match talk {
            Talk::Thanks | Talk::Bye | Talk::Greeting | Talk::Praise => {
                sentence || matches!(before.action, Action::Talk(_))
            }
            Talk::OffTopic | Talk::Help | Talk::Who => sentence,
            _ => false,
        };
        return aside && after.score >= HIGH;
    }
    if after.score < if sentence { MEDIUM } else { HIGH } {
        return false;
    }
    let free_text = match &before.action {
        Action::Add(new) => new.last().is_some_and(|task| led_by_verb(&task.title)),
        Action::Rename(_, title) => title.as_deref().is_some_and(led_by_verb),
        Action::Describe(_, text) => text.is_some(),
        Action::Append(..) => true,
        Action::List(query) => query.search.is_some(),
        Action::Talk(talk) => return is_prelude(*talk, left),
        _ => false,
    };
    !free_text || is_firm(&after.action)
}

/// Talk that may stand before a wish.
fn is_prelude(talk: Talk, left: &[Token]) -> bool {
    !matches!(talk, Talk::MaybeAdd) && !left.is_empty()
}

fn led_by_verb(title: &str) -> bool {
    title
        .split_whitespace()
        .next()
        .is_some_and(|first| is_verb(&first.to_lowercase()))
}
