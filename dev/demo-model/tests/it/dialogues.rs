//! Whole chats: judged by the calls of the last turn, the list that results, and what the reply says.

use errand_model::{
    brain::{Answer, answer},
    wire::Message,
};
use serde_json::json;

use crate::pretended::Chat;

/// Plays every chat of `text`: chats are parted by an empty line. `tasks:` is the list before, `>` what the user says,
/// `calls:` the calls of the last turn, `list:` the list after it, `reply:` words of the last reply.
fn check(text: &str) {
    let chats: Vec<&str> = text.split("\n\n").collect();
    let wrong: Vec<String> = chats.iter().filter_map(|chat| play(chat)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        chats.len(),
        wrong.join("\n")
    );
}

/// What is wrong with a chat, if anything.
fn play(script: &str) -> Option<String> {
    let script = script.trim().replace("\\n", "\n\t");
    let lines: Vec<String> = script.split('\n').fold(Vec::new(), |mut lines, line| {
        match (line.strip_prefix('\t'), lines.last_mut()) {
            (Some(rest), Some(last)) => *last = format!("{last}\n{rest}"),
            _ => lines.push(line.to_owned()),
        }
        lines
    });
    let all = |key: &str| -> Vec<&str> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(key))
            .map(str::trim)
            .collect()
    };
    let list = |key: &str| -> Vec<&str> {
        all(key)
            .into_iter()
            .flat_map(|line| line.split(" | "))
            .filter(|item| !item.is_empty())
            .collect()
    };
    let mut chat = Chat::new(&list("tasks:"));
    let mut reply = String::new();
    for said in all(">") {
        reply = chat.say(said);
    }
    assert!(!reply.is_empty(), "{script}");
    let calls = chat.calls.join(" ; ");
    let right = calls.trim() == all("calls:").join("")
        && chat.state() == list("list:")
        && all("reply:").iter().all(|words| reply.contains(words));
    (!right).then(|| {
        format!(
            "{script}\n  but calls {calls}\n  and list {:?}\n  and reply {reply:?}\n",
            chat.state()
        )
    })
}

#[test]
fn replies_come_from_the_results() {
    check(include_str!("chats/replies_come_from_the_results.txt"));
}

#[test]
fn tasks_are_named_by_their_words() {
    check(include_str!("chats/tasks_are_named_by_their_words.txt"));
}

#[test]
fn deleting_asks_first() {
    check(include_str!("chats/deleting_asks_first.txt"));
}

#[test]
fn words_that_point_back() {
    check(include_str!("chats/words_that_point_back.txt"));
}

#[test]
fn what_is_missing_is_asked_for() {
    check(include_str!("chats/what_is_missing_is_asked_for.txt"));
}

#[test]
fn nothing_of_a_long_message_is_lost() {
    let words = "wörter und mehr ".repeat(120);
    let text = format!("Add a task to {}", words.trim_end());
    let text: String = text.chars().take(2_000).collect();
    let wanted = text.strip_prefix("Add a task to ").unwrap().trim_end();
    let mut chat = Chat::new(&[]);
    let reply = chat.say(&text);
    let task = &chat.tasks[0];
    assert!(
        task.title.chars().count() <= 255 && wanted.starts_with(&task.title),
        "{}",
        task.title
    );
    assert!(wanted.strip_prefix(&task.title).unwrap().starts_with(' '));
    assert_eq!(task.description, wanted);
    assert!(reply.contains("Added task 1"));
}

#[test]
fn long_lists_come_in_pages_and_long_wishes_in_steps() {
    let titles: Vec<String> = (1..=70).map(|n| format!("task number {n}")).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut chat = Chat::new(&titles);
    let reply = chat.say("show my tasks");
    assert!(reply.contains("1 to 50 of 70"), "{reply}");
    let reply = chat.say("show more");
    assert_eq!(chat.calls, ["list +50"]);
    assert!(reply.contains("70. [ ] task number 70"), "{reply}");
    let reply = chat.say("complete tasks 1-40");
    assert_eq!(chat.calls.len(), 40);
    assert!(reply.contains("Completed task 40"), "{reply}");
    chat.say("complete everything");
    assert!(chat.tasks.iter().all(|task| task.completed));
}

#[test]
fn it_says_what_it_is_and_greets_by_name() {
    let mut chat = Chat::new(&[]);
    let prompt = "You are Errand.\nThe user's name, in quotes, is \"Zoë\"; it is a name and nothing else.";
    chat.request.messages.push(Message::new("system", prompt));
    assert!(chat.say("hi!").contains("Zoë"));
    for question in [
        "who are you?",
        "are you ChatGPT?",
        "what model are you?",
        "Are you human?",
    ] {
        assert!(chat.say(question).contains("rule-based"), "{question}");
    }
    assert!(chat.say("what's my name?").contains("Zoë"));
    assert!(
        chat.say("what's the weather?")
            .contains("only help with your to-do list")
    );
}

#[test]
fn only_tools_on_offer_are_called() {
    for (text, tool) in [
        ("add milk", "add_task"),
        ("show my tasks", "list_tasks"),
        ("complete 1", "complete_task"),
    ] {
        let mut chat = Chat::new(&["a"]);
        chat.request
            .tools
            .as_mut()
            .unwrap()
            .retain(|offered| offered.function.name != tool);
        let reply = chat.say(text);
        assert!(chat.calls.is_empty(), "{text}");
        assert!(reply.contains(tool), "{reply}");
    }
    let mut chat = Chat::new(&["a"]);
    chat.request
        .tools
        .as_mut()
        .unwrap()
        .retain(|offered| offered.function.name != "list_tasks");
    chat.say("complete the milk task");
    assert!(chat.calls.is_empty());
    chat.request.tool_choice = Some(json!("none"));
    chat.say("add milk");
    assert!(chat.calls.is_empty());
}

#[test]
fn no_result_is_claimed_that_no_tool_gave() {
    let results = [
        ("not json", "cannot read"),
        ("{}", "cannot read"),
        (
            r#"{"success":false,"error":"VALIDATION_ERROR: title","message":"The title is too long."}"#,
            "The title is too long.",
        ),
        (
            r#"{"success":false,"error":"INTERNAL_ERROR: x","message":"Try again."}"#,
            "could not add \"milk\": Try again.",
        ),
        (
            r#"{"truncated":true,"message":"Too long.","beginning":"{"}"#,
            "Too long.",
        ),
    ];
    for (result, words) in results {
        let mut chat = Chat::new(&[]);
        let Answer::Call(calls) = chat.first("add milk") else {
            panic!()
        };
        let call = errand_model::wire::ToolCall::new(
            "c".into(),
            calls[0].name.clone(),
            calls[0].arguments.to_string(),
        );
        chat.request.messages.push(Message {
            tool_calls: Some(vec![call]),
            ..Message::new("assistant", "")
        });
        let answered = Message {
            tool_call_id: Some("c".into()),
            ..Message::new("tool", result)
        };
        chat.request.messages.push(answered);
        let Answer::Say(reply) = answer(&chat.request) else {
            panic!("{result}")
        };
        assert!(
            reply.contains(words) && !reply.contains("Added"),
            "{result}: {reply}"
        );
    }
}

#[test]
fn two_thousand_characters_of_anything_are_read() {
    for piece in [
        "add check a, ",
        "check a and ",
        "and ",
        "a b ",
        "add a. ",
        "complete 1 and ",
        "show ",
        "'",
        "rename a to b ",
        "- x\n",
        "🥛",
        "mark as done as ",
        "i need to ",
        "please ",
        "delete a and b, ",
        "1, ",
        "task ",
    ] {
        for before in ["", "add ", "add a task to ", "complete "] {
            let text: String = before.chars().chain(piece.chars().cycle()).take(2_000).collect();
            let mut chat = Chat::new(&["a", "b"]);
            assert!(!chat.say(&text).is_empty(), "{piece}");
        }
    }
}

/// Earlier turns may be shown without their tool calls, when those are too long.
#[test]
fn replies_alone_are_enough_to_point_back_to() {
    let table = [
        ("Added task 2: \"b\".", "mark it as done", "done 2"),
        (
            "[The tool calls made here are too long to be shown again.]\n\n2 tasks match \"x\":\n1. [ ] a\n3. [ ] c",
            "complete the second one",
            "done 3",
        ),
        (
            "Should I delete task 3: \"c\"? This cannot be undone. Please answer yes or no.",
            "yes",
            "delete 3",
        ),
        (
            "Should I delete task 3: \"c\"? This cannot be undone.\n\n[That run failed after these calls.]",
            "yes",
            "delete 3",
        ),
    ];
    for (reply, said, call) in table {
        let mut chat = Chat::new(&["a", "b", "c"]);
        chat.request.messages.push(Message::new("user", "something"));
        chat.request.messages.push(Message::new("assistant", reply));
        chat.say(said);
        assert_eq!(chat.calls, [call], "{reply}");
    }
}
