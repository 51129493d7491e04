//! What to say where no tool is needed.

use super::action::Talk;

/// The words for a piece of talk; `name` is the user's, if the system prompt tells it.
pub(super) fn say(talk: Talk, name: Option<&str>) -> String {
    let to = name.map(|name| format!(", {name}")).unwrap_or_default();
    match talk {
        Talk::Greeting => format!("Hello{to}! What can I do for your to-do list?"),
        Talk::HowAreYou => "I am fine, thank you. What can I do for your to-do list?".to_owned(),
        Talk::Thanks => format!("You are welcome{to}!"),
        Talk::Bye => format!("Goodbye{to}!"),
        Talk::Who => "I am Errand's demo model: a rule-based program, not a large language model and not a person. I \
                      understand simple wishes about your to-do list: adding, showing, completing, changing and deleting \
                      tasks."
            .to_owned(),
        Talk::Help => "I look after your to-do list. You can say, for example:\n\
                       - Add a task to buy milk\n\
                       - Show me all my tasks, or: what is pending?\n\
                       - Mark task 1 as done\n\
                       - Rename task 2 to buy bread\n\
                       - Set the description of task 2 to wholemeal\n\
                       - Delete task 3 (I ask before I delete)"
            .to_owned(),
        Talk::MyName => match name {
            Some(name) => format!("Your name is {name}."),
            None => "I do not know your name.".to_owned(),
        },
        Talk::Praise => "All right. Tell me when there is something to do for your to-do list.".to_owned(),
        Talk::Never => "All right, I leave everything as it is.".to_owned(),
        Talk::NotConfirmed => "All right, I did not delete anything.".to_owned(),
        Talk::Yes => "I have not asked you anything. What can I do for your to-do list?".to_owned(),
        Talk::OffTopic => "I am sorry, I can only help with your to-do list: adding, showing, completing, changing and \
                           deleting tasks."
            .to_owned(),
        Talk::MaybeAdd | Talk::Unclear | Talk::AskAgain => "I am not sure what you would like me to do. I can add, show, \
                                                            complete, change and delete tasks; say \"help\" for examples."
            .to_owned(),
    }
}

/// The user's name, where a system prompt tells it.
pub(super) fn name_in(system: &str) -> Option<String> {
    const BEFORE: &[&str] = &[
        "name, in quotes, is ",
        "user's name is ",
        "user is named ",
        "user is called ",
        "name is ",
    ];
    let rest = BEFORE
        .iter()
        .find_map(|before| system.split_once(before).map(|(_, rest)| rest))?;
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
    fn names_are_found_in_prompts() {
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
