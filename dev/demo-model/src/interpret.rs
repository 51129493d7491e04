//! Interprets the last user message, which may answer a question in the previous reply.

mod choice;
mod confirmation;

use choice::{answer_to_which, pick};
use confirmation::{Confirmation, confirmation};

use crate::{
    action::{Action, NewTask, Ref, SmallTalk, Target},
    dialogue::{Dialogue, KnownTask, question::Question},
    parse::{
        clause::intents,
        intent::{HIGH, Intent, MEDIUM, is_specific},
        target::refs,
        title::{TitleMode, fit, new_tasks},
        token::{Token, source_text, tokens},
    },
};

/// Returns the actions that the last user message requests.
pub(crate) fn actions(dialogue: &Dialogue) -> Vec<Action> {
    let message = dialogue.current.user.as_str();
    let question = dialogue.past.last().and_then(|turn| Question::find(&turn.reply));
    match question {
        Some(question) => answer_to(dialogue, question, message),
        None => without_small_talk(intents(message)),
    }
}

/// Returns the actions of a message, without the small talk around them. A message of only small talk keeps its last part.
pub(crate) fn without_small_talk(intents: Vec<Intent>) -> Vec<Action> {
    let small = |talk: SmallTalk| !matches!(talk, SmallTalk::OffTopic | SmallTalk::MaybeAdd);
    let actions: Vec<Action> = intents.into_iter().map(|intent| intent.action).collect();
    if actions
        .iter()
        .all(|action| matches!(action, Action::SmallTalk(_)))
    {
        // In "hi, who are you?", the second part matters.
        return actions.into_iter().next_back().into_iter().collect();
    }
    actions
        .into_iter()
        .filter(|action| !matches!(action, Action::SmallTalk(talk) if small(*talk)))
        .collect()
}

/// Whether a message contains a request of its own instead of only an answer.
pub(crate) fn has_own_request(intents: &[Intent], at_least: f32) -> bool {
    intents
        .iter()
        .any(|intent| intent.score >= at_least && !matches!(intent.action, Action::SmallTalk(_)))
}

fn answer_to(dialogue: &Dialogue, question: Question, message: &str) -> Vec<Action> {
    let words = tokens(message);
    match question {
        Question::Delete(tasks) => answer_to_delete(&tasks, message, &words),
        Question::Which(verb, candidates) => answer_to_which(dialogue, verb, &candidates, message, &words),
        Question::NewTitle => answer_to_new_title(message, &words),
        Question::MaybeAdd => match confirmation(&words) {
            Confirmation::Yes => dialogue
                .past
                .last()
                .map_or_else(Vec::new, |turn| add(turn.user.trim())),
            Confirmation::No => vec![Action::SmallTalk(SmallTalk::NeverMind)],
            Confirmation::Neither => without_small_talk(intents(message)),
        },
        Question::Title(id) => match text_answer(message, &words) {
            TextAnswer::Text(title) => vec![Action::Rename(Target::Refs(vec![Ref::Id(id)]), Some(title))],
            TextAnswer::Actions(actions) => actions,
        },
        Question::Description(id) => match text_answer(message, &words) {
            TextAnswer::Text(text) => vec![Action::Describe(Target::Refs(vec![Ref::Id(id)]), Some(text))],
            TextAnswer::Actions(actions) => actions,
        },
    }
}

fn add(title: &str) -> Vec<Action> {
    vec![Action::Add(
        fit(title, None).into_iter().collect::<Vec<NewTask>>(),
    )]
}

/// The answer to "Should I delete …?".
fn answer_to_delete(tasks: &[KnownTask], message: &str, words: &[Token]) -> Vec<Action> {
    let ids = || tasks.iter().map(|task| task.id).collect::<Vec<i64>>();
    match confirmation(words) {
        Confirmation::Yes => return vec![Action::DeleteConfirmed(ids())],
        Confirmation::No => return vec![Action::SmallTalk(SmallTalk::NotConfirmed)],
        Confirmation::Neither => {}
    }
    // "Only the first one": delete some of the tasks.
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
    // "Yes, and add milk", "no, show my tasks": an answer followed by a request.
    if let Some(first) = words.first() {
        let confirmation = confirmation(std::slice::from_ref(first));
        let rest = message
            .get(first.end..)
            .unwrap_or_default()
            .trim_start_matches([',', '.', '!', ' ', ';']);
        let rest = rest.strip_prefix("and ").unwrap_or(rest);
        let next = intents(rest);
        if has_own_request(&next, HIGH) {
            let yes = (confirmation == Confirmation::Yes).then(|| Action::DeleteConfirmed(ids()));
            match (confirmation, yes) {
                (Confirmation::Yes, yes)
                    if !next
                        .iter()
                        .any(|intent| matches!(intent.action, Action::Delete(_))) =>
                {
                    return yes.into_iter().chain(without_small_talk(next)).collect();
                }
                (Confirmation::No, _) => return without_small_talk(next),
                _ => {}
            }
        }
    }
    let own = intents(message);
    if has_own_request(&own, MEDIUM) {
        without_small_talk(own)
    } else {
        vec![Action::SmallTalk(SmallTalk::AskAgain)]
    }
}

/// The answer to "What should the new task be called?". Almost any text is a title.
fn answer_to_new_title(message: &str, words: &[Token]) -> Vec<Action> {
    if confirmation(words) == Confirmation::No || is_never_mind(message) {
        return vec![Action::SmallTalk(SmallTalk::NeverMind)];
    }
    let own = intents(message);
    let is_request = own.iter().any(|intent| {
        intent.score >= 0.85
            && match &intent.action {
                Action::Add(new) => !new.is_empty(),
                Action::SmallTalk(SmallTalk::Help | SmallTalk::WhoAreYou) => true,
                Action::SmallTalk(_) => false,
                other => is_specific(other),
            }
    });
    if is_request {
        without_small_talk(own)
    } else {
        vec![Action::Add(new_tasks(message, words, TitleMode::Free, false))]
    }
}

/// The answer to a question for a text: the text, or other requests instead.
enum TextAnswer {
    Text(String),
    Actions(Vec<Action>),
}

fn text_answer(message: &str, words: &[Token]) -> TextAnswer {
    if confirmation(words) == Confirmation::No || is_never_mind(message) {
        return TextAnswer::Actions(vec![Action::SmallTalk(SmallTalk::NeverMind)]);
    }
    let own = intents(message);
    let is_request = own.iter().any(|intent| {
        intent.score >= 0.85
            && !matches!(intent.action, Action::SmallTalk(_) | Action::Rename(..))
            && is_specific(&intent.action)
    });
    if is_request {
        return TextAnswer::Actions(without_small_talk(own));
    }
    if let Some(Intent {
        action: Action::Rename(_, Some(title)),
        score,
    }) = own.into_iter().next()
        && score >= HIGH
    {
        return TextAnswer::Text(title);
    }
    TextAnswer::Text(source_text(message, words).trim().to_owned())
}

/// Whether a message only says "never mind" or "cancel".
pub(crate) fn is_never_mind(message: &str) -> bool {
    matches!(
        intents(message).as_slice(),
        [Intent {
            action: Action::SmallTalk(SmallTalk::NeverMind),
            ..
        }]
    )
}
