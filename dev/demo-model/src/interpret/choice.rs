//! Interprets the answer to "Which task should I …?" and resumes the request that led to the question.

use super::{
    confirmation::{Confirmation, confirmation},
    has_own_request, is_never_mind, without_small_talk,
};
use crate::{
    action::{Action, Ref, SmallTalk, Target},
    dialogue::{Dialogue, KnownTask, question::Verb},
    parse::{
        clause::intents,
        intent::MEDIUM,
        target::{refs, target},
        token::Token,
    },
};

/// Number of previous turns searched for the request that led to the question.
const SEARCHED_TURNS: usize = 6;

/// The answer to "Which task should I …?".
pub(crate) fn answer_to_which(
    dialogue: &Dialogue,
    verb: Verb,
    candidates: &[KnownTask],
    message: &str,
    words: &[Token],
) -> Vec<Action> {
    if confirmation(words) == Confirmation::No || is_never_mind(message) {
        return vec![Action::SmallTalk(SmallTalk::NeverMind)];
    }
    let with = |refs: Vec<Ref>| vec![resume(dialogue, verb, Target::Refs(refs))];
    if let Some(found) = refs(words) {
        let picked: Vec<Ref> = found
            .iter()
            .flat_map(|reference| match (reference, candidates) {
                (_, []) => vec![reference.clone()],
                (Ref::Them, all) => all.iter().map(|task| Ref::Id(task.id)).collect(),
                (reference, candidates) => pick(reference, candidates).map(Ref::Id).into_iter().collect(),
            })
            .collect();
        return if picked.is_empty() {
            vec![Action::SmallTalk(SmallTalk::AskAgain)]
        } else {
            with(picked)
        };
    }
    if let Target::All(state) = target(message, words)
        && words
            .iter()
            .any(|word| word.is(&["all", "everything", "every", "each"]))
    {
        if candidates.is_empty() {
            return vec![resume(dialogue, verb, Target::All(state))];
        }
        return with(candidates.iter().map(|task| Ref::Id(task.id)).collect());
    }
    let own = intents(message);
    let Target::Refs(named) = target(message, words) else {
        return without_small_talk(own);
    };
    let matching: Vec<&KnownTask> = match named.as_slice() {
        [Ref::Name(name)] => by_name(name, candidates),
        _ => Vec::new(),
    };
    match matching.as_slice() {
        [one] => with(vec![Ref::Id(one.id)]),
        _ if has_own_request(&own, MEDIUM) => without_small_talk(own),
        [] if candidates.is_empty() && words.len() <= 12 => with(named),
        _ => vec![Action::SmallTalk(SmallTalk::AskAgain)],
    }
}

/// Returns the candidates whose title contains `name`, or only the one with exactly this title if it is unique.
fn by_name<'s>(name: &str, candidates: &'s [KnownTask]) -> Vec<&'s KnownTask> {
    let wanted = name.to_lowercase();
    let title = |task: &KnownTask| task.title.as_deref().unwrap_or_default().to_lowercase();
    let exact: Vec<&KnownTask> = candidates.iter().filter(|task| title(task) == wanted).collect();
    if exact.len() == 1 {
        return exact;
    }
    candidates
        .iter()
        .filter(|task| title(task).contains(&wanted))
        .collect()
}

/// Returns the ID of the candidate to which a reference refers. A number is an ID or else a position.
pub(crate) fn pick(reference: &Ref, candidates: &[KnownTask]) -> Option<i64> {
    let at_position = |nth: i64| -> Option<i64> {
        let at = usize::try_from(nth.unsigned_abs()).ok()?.checked_sub(1)?;
        let found = if nth > 0 {
            candidates.get(at)
        } else {
            candidates.iter().rev().nth(at)
        };
        found.map(|task| task.id)
    };
    match reference {
        Ref::Id(id) if candidates.iter().any(|task| task.id == *id) => Some(*id),
        Ref::Id(nth) => at_position(*nth).or(Some(*nth)),
        Ref::Nth(nth) => at_position(*nth),
        Ref::It | Ref::Them | Ref::Other | Ref::Name(_) => match candidates {
            [only] => Some(only.id),
            _ => None,
        },
    }
}

/// Returns the request behind the question, with the target that is now known. Its other details are in earlier turns.
fn resume(dialogue: &Dialogue, verb: Verb, target: Target) -> Action {
    let earlier = dialogue
        .past
        .iter()
        .rev()
        .take(SEARCHED_TURNS)
        .flat_map(|turn| intents(&turn.user))
        .map(|intent| intent.action)
        .find(|action| verb_of(action) == Some(verb));
    match (verb, earlier) {
        (Verb::Complete, _) => Action::SetDone(target, true),
        (Verb::Reopen, _) => Action::SetDone(target, false),
        (Verb::Delete, _) => Action::Delete(target),
        (Verb::Show, _) => Action::Show(target),
        (Verb::Rename, Some(Action::Rename(_, title))) => Action::Rename(target, title),
        (Verb::Describe, Some(Action::Describe(_, text))) => Action::Describe(target, text),
        (Verb::Describe, Some(Action::Append(_, text))) => Action::Append(target, text),
        (Verb::Describe, _) => Action::Describe(target, None),
        (Verb::Rename | Verb::Change, _) => Action::Rename(target, None),
    }
}

fn verb_of(action: &Action) -> Option<Verb> {
    Some(match action {
        Action::SetDone(_, true) => Verb::Complete,
        Action::SetDone(_, false) => Verb::Reopen,
        Action::Delete(_) => Verb::Delete,
        Action::Show(_) => Verb::Show,
        Action::Rename(..) => Verb::Rename,
        Action::Describe(..) | Action::Append(..) => Verb::Describe,
        Action::Change(_) => Verb::Change,
        _ => return None,
    })
}
