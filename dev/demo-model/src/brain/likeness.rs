//! Which of several tasks a name means most likely.

use super::{dialogue::Seen, pending::Verb};

/// Of several tasks those that are meant most likely: that title exactly, then words of the title rather than of the
/// description, then those that are in the state that the wish would change.
pub(super) fn prefer(tasks: Vec<Seen>, name: &str, verb: Verb) -> Vec<Seen> {
    let wanted = name.trim().to_lowercase();
    let title = |task: &Seen| task.title.as_deref().unwrap_or_default().trim().to_lowercase();
    let state = |task: &Seen| match verb {
        Verb::Complete => task.completed == Some(false),
        Verb::Reopen => task.completed == Some(true),
        _ => true,
    };
    let tasks = narrowed(tasks, |task| title(task) == wanted);
    let tasks = narrowed(tasks, |task| title(task).contains(&wanted));
    narrowed(tasks, state)
}

/// Those that fit, or all if none does.
fn narrowed(tasks: Vec<Seen>, fits: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    let (fitting, rest): (Vec<Seen>, Vec<Seen>) = tasks.into_iter().partition(fits);
    if fitting.is_empty() { rest } else { fitting }
}

/// Whether every word of the name that matters is in the title, typing errors forgiven.
pub(super) fn alike(name: &str, task: &Seen) -> bool {
    const SMALL: &[&str] = &[
        "the", "a", "an", "to", "my", "for", "of", "and", "with", "task", "one",
    ];
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty() && !SMALL.contains(w))
            .map(str::to_owned)
            .collect()
    };
    let title = words(task.title.as_deref().unwrap_or_default());
    let wanted = words(name);
    !wanted.is_empty()
        && wanted.iter().all(|word| {
            title.iter().any(|other| {
                let close =
                    word.chars().count() > 3 && strsim::normalized_damerau_levenshtein(word, other) >= 0.74;
                other == word || close || (word.len() > 3 && other.starts_with(word.as_str()))
            })
        })
}
