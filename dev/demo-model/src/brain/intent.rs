//! What one clause wants, and how sure that is.

use super::{
    action::{Action, Query, Ref, Talk, Target},
    lexicon,
    pattern::Captures,
    polite::{Body, bodies},
    query::{first_few, outside, state},
    rules::{self, Matched, Means},
    target::{self, target},
    title::{self, Reading},
    token::{Kind, Token, exact},
};

/// At least this sure: act.
pub(super) const HIGH: f32 = 0.7;
/// At least this sure: act, for nothing is lost by it.
pub(super) const MEDIUM: f32 = 0.5;
/// At least this sure: ask.
pub(super) const LOW: f32 = 0.3;

/// A clause as understood.
#[derive(Debug, Clone)]
pub(super) struct Intent {
    pub(super) action: Action,
    pub(super) score: f32,
}

/// A typing error was corrected on the way.
const CORRECTED: f32 = 0.96;

/// What the clause wants.
pub(super) fn read(text: &str, tokens: &[Token]) -> Intent {
    let fixed = fixed(tokens);
    let mut best: Option<Intent> = None;
    let variants = std::iter::once((tokens, 1.0)).chain(fixed.as_deref().map(|fixed| (fixed, CORRECTED)));
    for (tokens, factor) in variants {
        for Body {
            tokens: body,
            question,
            weight,
        } in bodies(tokens)
        {
            let Some(found) = rules::best(body).and_then(|matched| build(text, body, question, &matched))
            else {
                continue;
            };
            let mut score = found.score * factor;
            if !is_firm(&found.action) {
                score *= weight;
            }
            if best.as_ref().is_none_or(|best| score > best.score) {
                best = Some(Intent { score, ..found });
            }
        }
    }
    best.filter(|best| best.score >= MEDIUM)
        .unwrap_or_else(|| guess(tokens))
}

/// No rule fits: perhaps something to add.
fn guess(tokens: &[Token]) -> Intent {
    let verb = tokens.first().is_some_and(|first| lexicon::is_verb(&first.norm)) && tokens.len() > 1;
    if verb {
        Intent {
            action: Action::Talk(Talk::MaybeAdd),
            score: LOW + 0.1,
        }
    } else {
        Intent {
            action: Action::Talk(Talk::Unclear),
            score: 0.0,
        }
    }
}

/// Whether the action says by itself what it is about, so that "I need to …" before it is only politeness.
pub(super) fn is_firm(action: &Action) -> bool {
    match action {
        Action::Add(_) | Action::List(_) | Action::More | Action::Undo => true,
        Action::Show(t)
        | Action::SetDone(t, _)
        | Action::Rename(t, _)
        | Action::Describe(t, _)
        | Action::Append(t, _)
        | Action::Delete(t)
        | Action::Change(t) => t.is_explicit(),
        Action::DeleteConfirmed(_) | Action::Talk(_) => false,
    }
}

/// The tokens with misspelled keywords corrected, if there are any, near the start and the end.
fn fixed(tokens: &[Token]) -> Option<Vec<Token>> {
    let mut fixed: Option<Vec<Token>> = None;
    for (at, token) in tokens.iter().enumerate() {
        if token.kind != Kind::Word || (at >= 7 && at + 4 < tokens.len()) {
            continue;
        }
        if let Some(meant) = lexicon::corrected(&token.norm)
            && let Some(token) = fixed.get_or_insert_with(|| tokens.to_vec()).get_mut(at)
        {
            meant.clone_into(&mut token.norm);
        }
    }
    fixed
}

/// The action of a rule that matched.
fn build(text: &str, tokens: &[Token], question: bool, matched: &Matched) -> Option<Intent> {
    let captured = |letter| matched.captures.get(letter, tokens);
    let about = || match captured('t') {
        Some(words) => target(text, words),
        None => uncaptured(tokens, &matched.captures),
    };
    let words = |letter| {
        captured(letter).map(|words| exact(text, title::trim(words, false, question)).trim().to_owned())
    };
    let action = match matched.means {
        Means::Add | Means::AddExact => {
            let reading = reading(matched, tokens);
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
            Action::Add(title::new_tasks(text, title, reading, question))
        }
        Means::AddNothing => Action::Add(Vec::new()),
        Means::List => Action::List(Query {
            completed: state(tokens),
            ..first_few(tokens)
        }),
        Means::Search => {
            let search = target(text, captured('s')?);
            let Target::Refs(refs) = search else {
                return Some(whole_list(tokens, matched.score));
            };
            match refs.as_slice() {
                [Ref::Name(name)] => {
                    let search = Some(name.chars().take(255).collect());
                    Action::List(Query {
                        search,
                        completed: state(outside(tokens, captured('s')?)),
                        ..Query::default()
                    })
                }
                _ => Action::Show(Target::Refs(refs)),
            }
        }
        Means::More => Action::More,
        Means::Show => Action::Show(about()),
        Means::Complete => Action::SetDone(about(), true),
        Means::Reopen => Action::SetDone(about(), false),
        Means::Undo => Action::Undo,
        Means::Rename => renamed(about(), captured('x')?, words('x')?),
        Means::RenameTo => Action::Rename(about(), None),
        Means::Change => Action::Change(about()),
        Means::Describe => Action::Describe(about(), words('d').filter(|text| !text.is_empty())),
        Means::Append => Action::Append(about(), words('d')?),
        Means::ClearDescription => Action::Describe(about(), Some(String::new())),
        Means::Delete => Action::Delete(about()),
        talk => Action::Talk(talk_of(talk)),
    };
    let vague = matches!(&action, Action::SetDone(Target::Refs(refs), _) if is_vague(refs));
    (!vague).then_some(Intent {
        action,
        score: matched.score,
    })
}

/// A name that is no name: "I am done", "what is done".
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

/// "Change 2 to done" is no title.
fn renamed(target: Target, words: &[Token], title: String) -> Action {
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

/// The target of a rule that captures none: a number, a place, or what was spoken of last.
fn uncaptured(tokens: &[Token], captures: &Captures) -> Target {
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
    let places: Vec<Ref> = free
        .iter()
        .filter_map(|token| target::refs(std::slice::from_ref(token)))
        .flatten()
        .collect();
    if let Some(place) = places.first() {
        return Target::Refs(vec![place.clone()]);
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

/// How the title is to be read: by what stands before it.
fn reading(matched: &Matched, tokens: &[Token]) -> Reading {
    let before = matched
        .captures
        .get('x', tokens)
        .and_then(<[Token]>::first)
        .map_or(0, |first| first.start);
    let mut lead = tokens.iter().filter(|token| token.start < before);
    if lead.clone().any(|token| {
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
        return Reading::Several;
    }
    if matched.means == Means::AddExact {
        return Reading::Exact;
    }
    let one = lead.any(|token| {
        token.is(&[
            "task", "todo", "item", "reminder", "remind", "i", "forget", "remember",
        ])
    });
    if one { Reading::One } else { Reading::Free }
}

fn talk_of(means: Means) -> Talk {
    match means {
        Means::Greeting => Talk::Greeting,
        Means::HowAreYou => Talk::HowAreYou,
        Means::Thanks => Talk::Thanks,
        Means::Bye => Talk::Bye,
        Means::Who => Talk::Who,
        Means::Help => Talk::Help,
        Means::MyName => Talk::MyName,
        Means::Praise => Talk::Praise,
        Means::Never => Talk::Never,
        Means::Yes => Talk::Yes,
        _ => Talk::OffTopic,
    }
}
