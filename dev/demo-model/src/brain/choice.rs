//! An answer to "which task should I …?": the task that is pointed at, and the wish behind the question.

use super::{
    action::{Action, Ref, Talk, Target},
    clause::intents,
    dialogue::{Dialogue, Seen},
    intent::MEDIUM,
    interpret::{own_wish, plain, plain_never},
    pending::Verb,
    target::{refs, target},
    token::Token,
    verdict::{Verdict, verdict},
};

/// How many turns back the wish behind a question is looked for.
const LOOK_BACK: usize = 6;

/// An answer to "which task should I …?".
pub(super) fn chosen(
    dialogue: &Dialogue,
    verb: Verb,
    candidates: &[Seen],
    said: &str,
    words: &[Token],
) -> Vec<Action> {
    if verdict(words) == Verdict::No || plain_never(said) {
        return vec![Action::Talk(Talk::Never)];
    }
    let with = |refs: Vec<Ref>| vec![acting(dialogue, verb, Target::Refs(refs))];
    if let Some(found) = refs(words) {
        let picked: Vec<Ref> = found
            .iter()
            .flat_map(|one| match (one, candidates) {
                (_, []) => vec![one.clone()],
                (Ref::Them, all) => all.iter().map(|task| Ref::Id(task.id)).collect(),
                (one, some) => pick(one, some).map(Ref::Id).into_iter().collect(),
            })
            .collect();
        return if picked.is_empty() {
            vec![Action::Talk(Talk::AskAgain)]
        } else {
            with(picked)
        };
    }
    if let Target::All(state) = target(said, words)
        && words
            .iter()
            .any(|word| word.is(&["all", "everything", "every", "each"]))
    {
        if candidates.is_empty() {
            return vec![acting(dialogue, verb, Target::All(state))];
        }
        return with(candidates.iter().map(|task| Ref::Id(task.id)).collect());
    }
    let own = intents(said);
    let Target::Refs(named) = target(said, words) else {
        return plain(own);
    };
    let matching: Vec<&Seen> = match named.as_slice() {
        [Ref::Name(name)] => by_name(name, candidates),
        _ => Vec::new(),
    };
    match matching.as_slice() {
        [one] => with(vec![Ref::Id(one.id)]),
        _ if own_wish(&own, MEDIUM) => plain(own),
        [] if candidates.is_empty() && words.len() <= 12 => with(named),
        _ => vec![Action::Talk(Talk::AskAgain)],
    }
}

/// The candidates of that name; just the one whose title it is, if there is one.
fn by_name<'s>(name: &str, candidates: &'s [Seen]) -> Vec<&'s Seen> {
    let wanted = name.to_lowercase();
    let title = |task: &Seen| task.title.as_deref().unwrap_or_default().to_lowercase();
    let exact: Vec<&Seen> = candidates.iter().filter(|task| title(task) == wanted).collect();
    if exact.len() == 1 {
        return exact;
    }
    candidates
        .iter()
        .filter(|task| title(task).contains(&wanted))
        .collect()
}

/// The number of the candidate that is pointed at: by its number, or else by its place.
pub(super) fn pick(one: &Ref, candidates: &[Seen]) -> Option<i64> {
    let place = |nth: i64| -> Option<i64> {
        let at = usize::try_from(nth.unsigned_abs()).ok()?.checked_sub(1)?;
        let found = if nth > 0 {
            candidates.get(at)
        } else {
            candidates.iter().rev().nth(at)
        };
        found.map(|task| task.id)
    };
    match one {
        Ref::Id(id) if candidates.iter().any(|task| task.id == *id) => Some(*id),
        Ref::Id(nth) => place(*nth).or(Some(*nth)),
        Ref::Nth(nth) => place(*nth),
        Ref::It | Ref::Them | Ref::Other | Ref::Name(_) => match candidates {
            [only] => Some(only.id),
            _ => None,
        },
    }
}

/// The wish behind a question, now that its target is known. What it needs besides was said turns before.
fn acting(dialogue: &Dialogue, verb: Verb, target: Target) -> Action {
    let before = dialogue
        .past
        .iter()
        .rev()
        .take(LOOK_BACK)
        .flat_map(|turn| intents(&turn.user))
        .map(|intent| intent.action)
        .find(|action| verb_of(action) == Some(verb));
    match (verb, before) {
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
