//! Classifies one clause: the requested action and a confidence.

use super::{
    lexicon,
    pattern::Captures,
    politeness::{Stripped, strip_politeness},
    query::{before, first_few, state},
    rules::{self, Meaning, RuleMatch},
    target::{self, target},
    title::{self, TitleMode},
    token::{Kind, Token, source_text},
};
use crate::action::{Action, Query, Ref, SmallTalk, Target};

/// Minimum confidence for any action.
pub(crate) const HIGH: f32 = 0.7;
/// Minimum confidence for actions that do no harm.
pub(crate) const MEDIUM: f32 = 0.5;
/// Minimum confidence for asking the user.
const LOW: f32 = 0.3;

/// The classification of a clause.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) action: Action,
    /// Confidence, from 0 to 1.
    pub(crate) score: f32,
}

/// Factor for the score of a clause with a corrected typo.
const TYPO_FACTOR: f32 = 0.96;

/// Classifies the clause `tokens` of the message `text`.
pub(crate) fn classify(text: &str, tokens: &[Token]) -> Intent {
    let corrected = with_typos_corrected(tokens);
    let mut best: Option<Intent> = None;
    let variants =
        std::iter::once((tokens, 1.0)).chain(corrected.as_deref().map(|tokens| (tokens, TYPO_FACTOR)));
    for (tokens, factor) in variants {
        for Stripped {
            tokens: body,
            question,
            weight,
        } in strip_politeness(tokens)
        {
            let Some(found) = rules::best(body).and_then(|matched| build(text, body, question, &matched))
            else {
                continue;
            };
            let mut score = found.score * factor;
            if !is_specific(&found.action) {
                score *= weight;
            }
            if best.as_ref().is_none_or(|best| score > best.score) {
                best = Some(Intent { score, ..found });
            }
        }
    }
    best.filter(|best| best.score >= MEDIUM)
        .unwrap_or_else(|| without_rule(tokens))
}

/// The intent of a clause that no rule matches: if it starts with a verb, it may be a task to add.
fn without_rule(tokens: &[Token]) -> Intent {
    let verb = tokens.first().is_some_and(|first| lexicon::is_verb(&first.norm)) && tokens.len() > 1;
    if verb {
        Intent {
            action: Action::SmallTalk(SmallTalk::MaybeAdd),
            score: LOW + 0.1,
        }
    } else {
        Intent {
            action: Action::SmallTalk(SmallTalk::Unclear),
            score: 0.0,
        }
    }
}

/// Whether the action identifies its task. If so, a preceding "I need to" is only polite.
pub(crate) fn is_specific(action: &Action) -> bool {
    match action {
        Action::Add(_) | Action::List(_) | Action::More | Action::Undo => true,
        Action::Show(t)
        | Action::SetDone(t, _)
        | Action::Rename(t, _)
        | Action::Describe(t, _)
        | Action::Append(t, _)
        | Action::Delete(t)
        | Action::Change(t) => t.is_explicit(),
        Action::DeleteConfirmed(_) | Action::SmallTalk(_) => false,
    }
}

/// Returns the tokens with misspelled keywords near the start and the end corrected, or `None` without typos.
fn with_typos_corrected(tokens: &[Token]) -> Option<Vec<Token>> {
    let mut corrected: Option<Vec<Token>> = None;
    for (at, token) in tokens.iter().enumerate() {
        if token.kind != Kind::Word || (at >= 7 && at + 4 < tokens.len()) {
            continue;
        }
        if let Some(keyword) = lexicon::correct_typo(&token.norm)
            && let Some(token) = corrected.get_or_insert_with(|| tokens.to_vec()).get_mut(at)
        {
            keyword.clone_into(&mut token.norm);
        }
    }
    corrected
}

/// Builds the action of a matched rule.
fn build(text: &str, tokens: &[Token], question: bool, matched: &RuleMatch) -> Option<Intent> {
    let captured = |letter| matched.captures.get(letter, tokens);
    let target_tasks = || match captured('t') {
        Some(words) => target(text, words),
        None => implicit_target(tokens, &matched.captures),
    };
    let captured_text = |letter| {
        captured(letter).map(|words| {
            source_text(text, title::trim(words, false, question))
                .trim()
                .to_owned()
        })
    };
    let action = match matched.meaning {
        Meaning::Add | Meaning::AddExact => {
            let mode = title_mode(matched, tokens);
            let title = captured('x')?;
            if title
                .iter()
                .all(|token| token.kind == Kind::Mark || token.is(&["please", "pls", "thanks", "now"]))
            {
                return Some(Intent {
                    action: Action::Add(Vec::new()),
                    score: matched.score,
                });
            }
            Action::Add(title::new_tasks(text, title, mode, question))
        }
        Meaning::AddNothing => Action::Add(Vec::new()),
        Meaning::List => Action::List(Query {
            completed: state(tokens),
            ..first_few(tokens)
        }),
        Meaning::Search => {
            let search = target(text, captured('s')?);
            let Target::Refs(refs) = search else {
                return Some(whole_list(tokens, matched.score));
            };
            match refs.as_slice() {
                [Ref::Name(name)] => {
                    let search = Some(name.chars().take(255).collect());
                    Action::List(Query {
                        search,
                        completed: state(before(tokens, captured('s')?)),
                        ..Query::default()
                    })
                }
                _ => Action::Show(Target::Refs(refs)),
            }
        }
        Meaning::More => Action::More,
        Meaning::Show => Action::Show(target_tasks()),
        Meaning::Complete => Action::SetDone(target_tasks(), true),
        Meaning::Reopen => Action::SetDone(target_tasks(), false),
        Meaning::Undo => Action::Undo,
        Meaning::Rename => rename_or_complete(target_tasks(), captured('x')?, captured_text('x')?),
        Meaning::RenameTo => Action::Rename(target_tasks(), None),
        Meaning::Change => Action::Change(target_tasks()),
        Meaning::Describe => {
            Action::Describe(target_tasks(), captured_text('d').filter(|text| !text.is_empty()))
        }
        Meaning::Append => Action::Append(target_tasks(), captured_text('d')?),
        Meaning::ClearDescription => Action::Describe(target_tasks(), Some(String::new())),
        Meaning::Delete => Action::Delete(target_tasks()),
        other => Action::SmallTalk(small_talk(other)),
    };
    let vague = matches!(&action, Action::SetDone(Target::Refs(refs), _) if is_vague(refs));
    (!vague).then_some(Intent {
        action,
        score: matched.score,
    })
}

/// Whether the only reference is a pronoun such as in "I am done" or "what is done".
fn is_vague(refs: &[Ref]) -> bool {
    matches!(refs, [Ref::Name(name)] if matches!(name.to_lowercase().as_str(), "i" | "you" | "what" | "who" | "which" | "well"))
}

fn whole_list(tokens: &[Token], score: f32) -> Intent {
    Intent {
        action: Action::List(Query {
            completed: state(tokens),
            ..Query::default()
        }),
        score,
    }
}

/// Renames a task, but "change 2 to done" completes it.
fn rename_or_complete(target: Target, words: &[Token], title: String) -> Action {
    let one = match words {
        [one] => one.norm.as_str(),
        [not, one] if not.is(&["not"]) && one.is(&["done", "completed", "finished", "complete"]) => "pending",
        _ => "",
    };
    match one {
        "done" | "completed" | "finished" | "complete" => Action::SetDone(target, true),
        "undone" | "pending" | "incomplete" | "open" | "unfinished" | "uncompleted" => {
            Action::SetDone(target, false)
        }
        _ => Action::Rename(target, Some(title).filter(|title| !title.is_empty())),
    }
}

/// The target of a rule without a `t` capture: a number, a position, or the task mentioned last.
fn implicit_target(tokens: &[Token], captures: &Captures) -> Target {
    let inside = |token: &Token| {
        let mut texts = ['d', 'x', 'o']
            .iter()
            .filter_map(|letter| captures.get(*letter, tokens));
        texts.any(|text| text.iter().any(|captured| captured.start == token.start))
    };
    let free: Vec<Token> = tokens.iter().filter(|token| !inside(token)).cloned().collect();
    let numbers: Vec<Ref> = free.iter().filter_map(Token::number).map(Ref::Id).collect();
    if !numbers.is_empty() {
        return Target::Refs(numbers);
    }
    let positions: Vec<Ref> = free
        .iter()
        .filter_map(|token| target::refs(std::slice::from_ref(token)))
        .flatten()
        .collect();
    if let Some(position) = positions.first() {
        return Target::Refs(vec![position.clone()]);
    }
    if free.iter().any(|token| token.is(&["its", "it", "that", "this"])) {
        return Target::Refs(vec![Ref::It]);
    }
    let clears = free
        .iter()
        .any(|token| token.is(&["description", "desc", "note", "notes"]));
    if clears {
        Target::Refs(vec![Ref::It])
    } else {
        Target::Missing
    }
}

/// Chooses the mode by the words before the title.
fn title_mode(matched: &RuleMatch, tokens: &[Token]) -> TitleMode {
    let start = matched
        .captures
        .get('x', tokens)
        .and_then(<[Token]>::first)
        .map_or(0, |first| first.start);
    let mut lead_words = tokens.iter().filter(|token| token.start < start);
    if lead_words.clone().any(|token| {
        token.is(&[
            "tasks",
            "todos",
            "items",
            "reminders",
            "things",
            "two",
            "three",
            "these",
            "following",
            "few",
            "chores",
        ])
    }) {
        return TitleMode::Several;
    }
    if matched.meaning == Meaning::AddExact {
        return TitleMode::Exact;
    }
    let one = lead_words.any(|token| {
        token.is(&[
            "task", "todo", "item", "reminder", "remind", "i", "forget", "remember",
        ])
    });
    if one { TitleMode::One } else { TitleMode::Free }
}

fn small_talk(meaning: Meaning) -> SmallTalk {
    match meaning {
        Meaning::Greeting => SmallTalk::Greeting,
        Meaning::HowAreYou => SmallTalk::HowAreYou,
        Meaning::Thanks => SmallTalk::Thanks,
        Meaning::Bye => SmallTalk::Bye,
        Meaning::WhoAreYou => SmallTalk::WhoAreYou,
        Meaning::Help => SmallTalk::Help,
        Meaning::MyName => SmallTalk::MyName,
        Meaning::Praise => SmallTalk::Praise,
        Meaning::NeverMind => SmallTalk::NeverMind,
        Meaning::Yes => SmallTalk::Yes,
        _ => SmallTalk::OffTopic,
    }
}
