//! What the last user message wants, in the light of a question that may stand before it.

use super::{
    action::{Action, NewTask, Ref, Talk, Target},
    choice::{chosen, pick},
    clause::intents,
    dialogue::{Dialogue, Seen},
    intent::{HIGH, Intent, MEDIUM},
    pending::Pending,
    target::refs,
    title::fit,
    token::{Token, exact, tokens},
    verdict::{Verdict, verdict},
};

/// The wishes of the last user message.
pub(super) fn wishes(dialogue: &Dialogue) -> Vec<Action> {
    let said = dialogue.now.user.as_str();
    let pending = dialogue.past.last().and_then(|turn| Pending::find(&turn.said));
    match pending {
        Some(pending) => answered(dialogue, pending, said),
        None => plain(intents(said)),
    }
}

/// The wishes of a message that answers nothing.
pub(super) fn plain(intents: Vec<Intent>) -> Vec<Action> {
    let small = |talk: Talk| !matches!(talk, Talk::OffTopic | Talk::MaybeAdd);
    let actions: Vec<Action> = intents.into_iter().map(|intent| intent.action).collect();
    if actions.iter().all(|action| matches!(action, Action::Talk(_))) {
        // Of "hi, who are you?" the second part counts.
        return actions.into_iter().next_back().into_iter().collect();
    }
    actions
        .into_iter()
        .filter(|action| !matches!(action, Action::Talk(talk) if small(*talk)))
        .collect()
}

/// Whether the message is a wish of its own, whatever was asked.
pub(super) fn own_wish(intents: &[Intent], at_least: f32) -> bool {
    intents
        .iter()
        .any(|intent| intent.score >= at_least && !matches!(intent.action, Action::Talk(_)))
}

fn answered(dialogue: &Dialogue, pending: Pending, said: &str) -> Vec<Action> {
    let words = tokens(said);
    match pending {
        Pending::Delete(tasks) => confirmed(&tasks, said, &words),
        Pending::Which(verb, candidates) => chosen(dialogue, verb, &candidates, said, &words),
        Pending::NewTitle => titled(said, &words),
        Pending::MaybeAdd => match verdict(&words) {
            Verdict::Yes => dialogue
                .past
                .last()
                .map_or_else(Vec::new, |turn| add(turn.user.trim())),
            Verdict::No => vec![Action::Talk(Talk::Never)],
            Verdict::Neither => plain(intents(said)),
        },
        Pending::Title(id) => match new_text(said, &words) {
            Given::Text(title) => vec![Action::Rename(Target::Refs(vec![Ref::Id(id)]), Some(title))],
            Given::Other(actions) => actions,
        },
        Pending::Description(id) => match new_text(said, &words) {
            Given::Text(text) => vec![Action::Describe(Target::Refs(vec![Ref::Id(id)]), Some(text))],
            Given::Other(actions) => actions,
        },
    }
}

fn add(title: &str) -> Vec<Action> {
    vec![Action::Add(
        fit(title, None).into_iter().collect::<Vec<NewTask>>(),
    )]
}

/// An answer to "should I delete …?".
fn confirmed(tasks: &[Seen], said: &str, words: &[Token]) -> Vec<Action> {
    let ids = || tasks.iter().map(|task| task.id).collect::<Vec<i64>>();
    match verdict(words) {
        Verdict::Yes => return vec![Action::DeleteConfirmed(ids())],
        Verdict::No => return vec![Action::Talk(Talk::NotConfirmed)],
        Verdict::Neither => {}
    }
    // "Only the first": a part of what was asked.
    if let [only, rest @ ..] = words
        && only.is(&["only", "just"])
        && let Some(refs) = refs(rest)
    {
        let some: Vec<i64> = refs
            .iter()
            .filter_map(|one| pick(one, tasks))
            .filter(|id| ids().contains(id))
            .collect();
        if !some.is_empty() {
            return vec![Action::DeleteConfirmed(some)];
        }
    }
    // "Yes, and add milk", "no, show my tasks".
    if let Some((first, rest)) = first_word(words) {
        let verdict = verdict(std::slice::from_ref(first));
        let rest_said = said
            .get(rest..)
            .unwrap_or_default()
            .trim_start_matches([',', '.', '!', ' ', ';']);
        let rest_said = rest_said.strip_prefix("and ").unwrap_or(rest_said);
        let next = intents(rest_said);
        if own_wish(&next, HIGH) {
            let yes = (verdict == Verdict::Yes).then(|| Action::DeleteConfirmed(ids()));
            match (verdict, yes) {
                (Verdict::Yes, yes)
                    if !next
                        .iter()
                        .any(|intent| matches!(intent.action, Action::Delete(_))) =>
                {
                    return yes.into_iter().chain(plain(next)).collect();
                }
                (Verdict::No, _) => return plain(next),
                _ => {}
            }
        }
    }
    let own = intents(said);
    if own_wish(&own, MEDIUM) {
        plain(own)
    } else {
        vec![Action::Talk(Talk::AskAgain)]
    }
}

fn first_word(words: &[Token]) -> Option<(&Token, usize)> {
    words.first().map(|first| (first, first.end))
}

/// An answer to "what should the new task be called?": nearly everything is a title.
fn titled(said: &str, words: &[Token]) -> Vec<Action> {
    if verdict(words) == Verdict::No || plain_never(said) {
        return vec![Action::Talk(Talk::Never)];
    }
    let own = intents(said);
    let wish = own.iter().any(|intent| {
        intent.score >= 0.85
            && match &intent.action {
                Action::Add(new) => !new.is_empty(),
                Action::Talk(Talk::Help | Talk::Who) => true,
                Action::Talk(_) => false,
                other => super::intent::is_firm(other),
            }
    });
    if wish {
        plain(own)
    } else {
        vec![Action::Add(super::title::new_tasks(
            said,
            words,
            super::title::Reading::Free,
            false,
        ))]
    }
}

/// A text that was asked for, or something else instead.
enum Given {
    Text(String),
    Other(Vec<Action>),
}

fn new_text(said: &str, words: &[Token]) -> Given {
    if verdict(words) == Verdict::No || plain_never(said) {
        return Given::Other(vec![Action::Talk(Talk::Never)]);
    }
    let own = intents(said);
    let firm = own.iter().any(|intent| {
        intent.score >= 0.85
            && !matches!(intent.action, Action::Talk(_) | Action::Rename(..))
            && super::intent::is_firm(&intent.action)
    });
    if firm {
        return Given::Other(plain(own));
    }
    if let Some(Intent {
        action: Action::Rename(_, Some(title)),
        score,
    }) = own.into_iter().next()
        && score >= HIGH
    {
        return Given::Text(title);
    }
    Given::Text(exact(said, words).trim().to_owned())
}

/// "Never mind", "cancel".
pub(super) fn plain_never(said: &str) -> bool {
    matches!(
        intents(said).as_slice(),
        [Intent {
            action: Action::Talk(Talk::Never),
            ..
        }]
    )
}
