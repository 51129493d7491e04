//! What the last user message wants, in the light of a question that may stand before it.

use super::{
    action::{Action, NewTask, Ref, Talk, Target},
    clause::intents,
    dialogue::{Dialogue, Seen},
    intent::{HIGH, Intent, MEDIUM},
    pending::{Pending, Verb},
    target::{refs, target},
    title::fit,
    token::{Token, exact, tokens},
};

/// How many turns back the wish behind a question is looked for.
const LOOK_BACK: usize = 6;

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
fn plain(intents: Vec<Intent>) -> Vec<Action> {
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
fn own_wish(intents: &[Intent], at_least: f32) -> bool {
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

/// Yes, no, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    Neither,
}

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
const AROUND_YES: &[&str] = &[
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

/// Whether the words are a plain yes or a plain no.
fn verdict(words: &[Token]) -> Verdict {
    let words: Vec<&Token> = words
        .iter()
        .filter(|token| token.kind != super::token::Kind::Mark && !token.norm.is_empty())
        .collect();
    if words.is_empty() || words.len() > 12 {
        return Verdict::Neither;
    }
    let known = words
        .iter()
        .all(|word| word.is(YES) || word.is(NO) || word.is(AROUND_YES));
    let no = words.iter().any(|word| word.is(NO));
    let yes = words.iter().any(|word| word.is(YES));
    let do_it = words.len() <= 4
        && words
            .first()
            .is_some_and(|first| first.is(&["do", "go", "delete", "remove", "let"]))
        && words.len() > 1;
    match (known, no, yes || do_it) {
        (true, true, false) => Verdict::No,
        (true, true, true) if words.first().is_some_and(|first| first.is(NO)) => Verdict::No,
        (true, false, true) => Verdict::Yes,
        _ => Verdict::Neither,
    }
}

/// An answer to "which task should I …?".
fn chosen(dialogue: &Dialogue, verb: Verb, candidates: &[Seen], said: &str, words: &[Token]) -> Vec<Action> {
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

/// "Never mind", "cancel".
fn plain_never(said: &str) -> bool {
    matches!(
        intents(said).as_slice(),
        [Intent {
            action: Action::Talk(Talk::Never),
            ..
        }]
    )
}

/// The number of the candidate that is pointed at: by its number, or else by its place.
fn pick(one: &Ref, candidates: &[Seen]) -> Option<i64> {
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
