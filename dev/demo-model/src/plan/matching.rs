//! Ranks tasks by how well they match words from the user.

mod verb_forms;

use verb_forms::have_same_root;

use crate::dialogue::{KnownTask, question::Verb};

/// Returns the tasks that `name` most likely refers to. Prefers an exact title, then a title that contains `name` (to a
/// description that does), then tasks whose state the request would change.
pub(crate) fn best_matches(tasks: Vec<KnownTask>, name: &str, verb: Verb) -> Vec<KnownTask> {
    let wanted = name.trim().to_lowercase();
    let title = |task: &KnownTask| task.title.as_deref().unwrap_or_default().trim().to_lowercase();
    let state = |task: &KnownTask| match verb {
        Verb::Complete => task.completed == Some(false),
        Verb::Reopen => task.completed == Some(true),
        _ => true,
    };
    let tasks = prefer(tasks, |task| title(task) == wanted);
    let tasks = prefer(tasks, |task| title(task).contains(&wanted));
    prefer(tasks, state)
}

/// Returns the tasks that satisfy `fits`, or all tasks if no task does.
fn prefer(tasks: Vec<KnownTask>, fits: impl Fn(&KnownTask) -> bool) -> Vec<KnownTask> {
    let (fitting, rest): (Vec<KnownTask>, Vec<KnownTask>) = tasks.into_iter().partition(fits);
    if fitting.is_empty() { rest } else { fitting }
}

/// Whether the title contains every significant word of `name`: in any order, despite typos, and in other forms of a verb.
pub(crate) fn is_similar(name: &str, task: &KnownTask) -> bool {
    const STOP_WORDS: &[&str] = &[
        "the", "a", "an", "to", "my", "for", "of", "and", "with", "task", "one",
    ];
    let words = |text: &str| -> Vec<String> {
        let lower = text.to_lowercase();
        lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty() && !STOP_WORDS.contains(w))
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
                other == word
                    || close
                    || (word.len() > 3 && other.starts_with(word.as_str()))
                    || have_same_root(word, other)
            })
        })
}
