//! Splits a message into clauses with one request each.

use super::{
    intent::{HIGH, Intent, MEDIUM, classify, is_specific},
    lexicon::is_verb,
    token::{Kind, Token, source_text, tokens},
};
use crate::action::{Action, SmallTalk};

/// Words with which a new request may start.
const OPENERS: &[&str] = &[
    "add", "create", "make", "put", "remind", "new", "insert", "append", "note", "show", "list", "display",
    "view", "see", "get", "give", "tell", "what", "whats", "which", "how", "do", "is", "find", "search",
    "mark", "set", "complete", "finish", "check", "tick", "cross", "close", "delete", "remove", "erase",
    "drop", "cancel", "clear", "rename", "change", "update", "edit", "modify", "call", "replace", "describe",
    "reopen", "undo", "uncheck", "untick", "unmark", "restore", "i", "ive", "im", "dont", "task", "take",
    "please", "can", "could", "also", "then", "hi", "hello", "hey", "thanks", "thank", "scratch", "strike",
    "get", "my", "write", "attach", "move", "throw", "bye", "yes", "no", "nope", "yeah",
];

/// Returns the intent of each clause of `text`, in order. Never empty.
pub(crate) fn intents(text: &str) -> Vec<Intent> {
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
            action: Action::SmallTalk(SmallTalk::Unclear),
            score: 0.0,
        });
    }
    intents
}

/// Maximum number of positions tried as the end of a clause. Each costs two classifications.
const MAX_SPLITS: usize = 40;

/// Returns the intent of the first clause and the tokens after it.
fn first_clause<'t>(text: &str, words: &'t [Token]) -> (Intent, &'t [Token]) {
    let splits = (1..words.len()).filter_map(|at| {
        let boundary = boundary(words, at)?;
        let (left, right) = (words.get(..at)?, words.get(boundary.next..)?);
        may_start_request(right).then_some((left, right, boundary))
    });
    for (left, right, boundary) in splits.take(MAX_SPLITS) {
        let before = classify(text, left);
        let unclear = before.action == Action::SmallTalk(SmallTalk::Unclear);
        if before.score < MEDIUM && !(boundary.sentence && unclear) {
            continue;
        }
        let clause = until_next_boundary(right);
        let after = classify(text, clause);
        if unclear && !(after.score >= HIGH && is_specific(&after.action)) {
            continue;
        }
        let is_closed = ends_with_quotation(text, &before.action, left);
        if are_separate(&before, &after, &boundary, left)
            || (after.score >= HIGH && !is_small_talk(&after) && is_closed)
            || is_instruction(&after, clause, &boundary)
        {
            return (before, right);
        }
    }
    (classify(text, words), &[])
}

/// Returns the words up to the next position where a request may start.
fn until_next_boundary(words: &[Token]) -> &[Token] {
    let starts = |at: &usize| {
        let rest = boundary(words, *at).and_then(|boundary| words.get(boundary.next..));
        rest.is_some_and(may_start_request)
    };
    let end = (1..words.len()).find(starts).unwrap_or(words.len());
    words.get(..end).unwrap_or(words)
}

/// A position at which a clause may end.
struct Boundary {
    /// Index of the first token after it.
    next: usize,
    /// Whether a sentence ends there.
    sentence: bool,
    /// Whether a word such as "then" follows.
    sequence: bool,
}

/// Returns the boundary before `at`, if a clause may end there.
fn boundary(words: &[Token], at: usize) -> Option<Boundary> {
    const LINKS: &[&str] = &["and", "then", "also", "plus", "but", "afterwards", "after"];
    const SEQUENCE: &[&str] = &["then", "afterwards"];
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
    let between = words.get(at..next).unwrap_or_default();
    (next < words.len()).then(|| Boundary {
        next,
        sentence: sentence || here.new_line,
        sequence: between.iter().any(|token| token.is(SEQUENCE)),
    })
}

/// Whether a request may start here. A cheap check before the classification.
fn may_start_request(words: &[Token]) -> bool {
    let Some(first) = words.first() else { return false };
    first.is(OPENERS) || super::lexicon::correct_typo(&first.norm).is_some() || omits_verb(words)
}

/// Whether the words continue the previous request without repeating its verb: "… and 3 as done", "… and the description
/// to …", "… and a task called …".
fn omits_verb(words: &[Token]) -> bool {
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

/// Whether two clauses are separate requests. Otherwise `after` is a continuation, for example of a title.
fn are_separate(before: &Intent, after: &Intent, boundary: &Boundary, left: &[Token]) -> bool {
    let sentence = boundary.sentence;
    if let Action::SmallTalk(talk) = &after.action {
        // Thanks or a goodbye after the end of a sentence is small talk. In the middle, it is part of a title.
        let separate = match talk {
            SmallTalk::Thanks | SmallTalk::Bye | SmallTalk::Greeting | SmallTalk::Praise => {
                sentence || matches!(before.action, Action::SmallTalk(_))
            }
            SmallTalk::OffTopic | SmallTalk::Help | SmallTalk::WhoAreYou => sentence,
            _ => false,
        };
        return separate && after.score >= HIGH;
    }
    if after.score < if sentence { MEDIUM } else { HIGH } {
        return false;
    }
    if let (Action::Add(_), Action::Add(new)) = (&before.action, &after.action)
        && new.first().is_some_and(|task| starts_with(&task.title, PRONOUNS))
    {
        // "Add buy milk. I need it for the cake.": the second sentence is a description.
        return false;
    }
    let free_text = match &before.action {
        Action::Add(new) => new.last().is_some_and(|task| starts_with_verb(&task.title)),
        Action::Rename(_, title) => title.as_deref().is_some_and(starts_with_verb),
        Action::Describe(_, text) => text.is_some(),
        Action::Append(..) => true,
        Action::List(query) => query.search.is_some(),
        Action::SmallTalk(talk) => return may_precede_request(*talk, left),
        _ => false,
    };
    !free_text || is_specific(&after.action)
}

/// Whether a request may follow this small talk.
fn may_precede_request(talk: SmallTalk, left: &[Token]) -> bool {
    !matches!(talk, SmallTalk::MaybeAdd) && !left.is_empty()
}

/// Whether the text of `action` ends with the quotation at the end of `words`, so that nothing can continue it.
fn ends_with_quotation(text: &str, action: &Action, words: &[Token]) -> bool {
    let Some(last) = words.last().filter(|last| last.kind == Kind::Quoted) else {
        return false;
    };
    let quotation = source_text(text, std::slice::from_ref(last));
    let ending = match action {
        Action::Add(new) => new
            .last()
            .map(|task| task.description.as_ref().unwrap_or(&task.title)),
        Action::Rename(_, title) => title.as_ref(),
        Action::Describe(_, description) => description.as_ref(),
        Action::Append(_, description) => Some(description),
        _ => None,
    };
    ending.is_some_and(|ending| ending == quotation)
}

/// Whether a clause is clearly a request about the list and not part of a title, even if it refers to its task by title:
/// "mark pay bills as done", "delete the milk task", "complete "pay rent"".
fn is_instruction(intent: &Intent, clause: &[Token], boundary: &Boundary) -> bool {
    const LIST_NOUNS: &[&str] = &["task", "tasks", "todo", "todos", "list"];
    const NAMING: &[&str] = &["called", "named", "titled", "about"];
    if is_small_talk(intent) || matches!(intent.action, Action::Add(_)) || intent.score < HIGH {
        return false;
    }
    let last_word = clause.iter().rev().find(|token| token.kind != Kind::Mark);
    let named = clause
        .windows(2)
        .any(|pair| matches!(pair, [noun, naming] if noun.is(LIST_NOUNS) && naming.is(NAMING)));
    let quoted = clause.iter().any(|token| token.kind == Kind::Quoted);
    intent.score >= UNAMBIGUOUS
        || last_word.is_some_and(|word| word.is(LIST_NOUNS))
        || named
        || (intent.score >= PROBABLE && (quoted || boundary.sequence))
}

/// Minimum confidence at which a request about a task can't be part of a title.
const UNAMBIGUOUS: f32 = 0.945;
/// The same for requests with a quotation or after "then".
const PROBABLE: f32 = 0.8;

fn is_small_talk(intent: &Intent) -> bool {
    matches!(intent.action, Action::SmallTalk(_))
}

/// Words with which no title starts.
const PRONOUNS: &[&str] = &[
    "it", "its", "it's", "this", "that", "them", "these", "those", "him", "her",
];

fn starts_with(title: &str, words: &[&str]) -> bool {
    title
        .split_whitespace()
        .next()
        .is_some_and(|first| words.contains(&first.to_lowercase().as_str()))
}

fn starts_with_verb(title: &str) -> bool {
    title
        .split_whitespace()
        .next()
        .is_some_and(|first| is_verb(&first.to_lowercase()))
}
