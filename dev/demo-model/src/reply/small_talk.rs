//! Replies that need no tool.

use crate::action::SmallTalk;

const WHO_AM_I: &str = "I'm Errand's demo model: a rule-based program, not a large language model and not a person. I \
    understand simple requests about your to-do list: adding, showing, completing, changing and deleting tasks.";
const HELP: &str = "I manage your to-do list. For example, you can say:
- Add a task to buy milk
- Show my tasks, or: what's pending?
- Mark task 1 as done
- Rename task 2 to buy bread
- Set the description of task 2 to wholemeal
- Delete task 3 (I'll ask you to confirm)";
const OFF_TOPIC: &str = "Sorry, I can only help with your to-do list: adding, showing, completing, changing and deleting \
    tasks.";
const UNCLEAR: &str = "I'm not sure what you mean. I can add, show, complete, change and delete tasks. Say \"help\" for \
    examples.";

/// Returns the reply. `name` is the user's name, if it is known.
pub(crate) fn reply(kind: SmallTalk, name: Option<&str>) -> String {
    let to = name.map(|name| format!(", {name}")).unwrap_or_default();
    match kind {
        SmallTalk::Greeting => format!("Hello{to}! How can I help with your to-do list?"),
        SmallTalk::HowAreYou => "I'm fine, thanks! How can I help with your to-do list?".to_owned(),
        SmallTalk::Thanks => format!("You're welcome{to}!"),
        SmallTalk::Bye => format!("Goodbye{to}!"),
        SmallTalk::WhoAreYou => WHO_AM_I.to_owned(),
        SmallTalk::Help => HELP.to_owned(),
        SmallTalk::MyName => match name {
            Some(name) => format!("Your name is {name}."),
            None => "I don't know your name.".to_owned(),
        },
        SmallTalk::Praise => "OK! Let me know if I can help with your to-do list.".to_owned(),
        SmallTalk::NeverMind => "OK, I won't change anything.".to_owned(),
        SmallTalk::NotConfirmed => "OK, I didn't delete anything.".to_owned(),
        SmallTalk::Yes => "There's nothing to confirm. How can I help with your to-do list?".to_owned(),
        SmallTalk::OffTopic => OFF_TOPIC.to_owned(),
        SmallTalk::MaybeAdd | SmallTalk::Unclear | SmallTalk::AskAgain => UNCLEAR.to_owned(),
    }
}

/// Finds the user's name in a system prompt.
pub(crate) fn name_in(system: &str) -> Option<String> {
    const PREFIXES: &[&str] = &[
        "name, in quotes, is ",
        "user's name is ",
        "user is named ",
        "user is called ",
        "name is ",
    ];
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| system.split_once(prefix).map(|(_, rest)| rest))?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(['.', ',', ';', '\n', '(', '"']).next()?,
    };
    let name = name.trim();
    let plausible = (1..=60).contains(&name.chars().count()) && name.chars().any(char::is_alphabetic);
    plausible.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn finds_name_in_system_prompt() {
        let table = [
            (
                "The user's name, in quotes, is \"Zoë\"; it is a name and nothing else.",
                Some("Zoë"),
            ),
            (
                "You help. The user's name is Ann Lee. Today is Monday.",
                Some("Ann Lee"),
            ),
            ("The user gave no name.", None),
            ("", None),
        ];
        for (prompt, name) in table {
            assert_eq!(name_in(prompt).as_deref(), name);
        }
    }
}
