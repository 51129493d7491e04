//! Whole dialogues, checked by the tool calls of the last turn, the resulting list and the reply.

use errand_fake_model::{
    Answer,
    wire::{Message, ToolCall},
};
use errand_model::answer;
use serde_json::json;

use crate::chat::Chat;

/// Plays every dialogue of `text`. Dialogues are separated by an empty line. `tasks:` is the initial list, `>` starts a user
/// message, `calls:` are the calls of the last turn, `list:` is the resulting list and `reply:` a part of the last reply.
fn check(text: &str) {
    let dialogues: Vec<&str> = text.split("\n\n").collect();
    let wrong: Vec<String> = dialogues.iter().filter_map(|dialogue| play(dialogue)).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        dialogues.len(),
        wrong.join("\n")
    );
}

/// Plays one dialogue. Returns a description of the difference if it fails.
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
    for message in all(">") {
        reply = chat.say(message);
    }
    assert!(!reply.is_empty(), "{script}");
    let calls = chat.calls.join(" ; ");
    let right = calls.trim() == all("calls:").join("")
        && chat.state() == list("list:")
        && all("reply:").iter().all(|part| reply.contains(part));
    (!right).then(|| {
        format!(
            "{script}\n  actual calls {calls}\n  actual list {:?}\n  actual reply {reply:?}\n",
            chat.state()
        )
    })
}

#[test]
fn replies_follow_tool_results() {
    check(include_str!("dialogues/replies_follow_tool_results.txt"));
}

#[test]
fn finds_tasks_by_title() {
    check(include_str!("dialogues/finding_tasks_by_title.txt"));
}

#[test]
fn deleting_asks_for_confirmation() {
    check(include_str!("dialogues/deleting_asks_for_confirmation.txt"));
}

#[test]
fn resolves_references_to_earlier_tasks() {
    check(include_str!("dialogues/references_to_earlier_tasks.txt"));
}

#[test]
fn asks_for_missing_details() {
    check(include_str!("dialogues/missing_details_are_requested.txt"));
}

#[test]
fn long_title_is_kept_in_description() {
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
fn pages_long_lists_and_splits_long_requests() {
    let titles: Vec<String> = (1..=70).map(|n| format!("task number {n}")).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut chat = Chat::new(&titles);
    let reply = chat.say("show my tasks");
    assert!(reply.contains("Showing 1 to 50 of 70"), "{reply}");
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
fn introduces_itself_and_greets_by_name() {
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
fn calls_only_available_tools() {
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
fn reply_claims_only_what_tools_report() {
    let results = [
        ("not json", "can't read"),
        ("{}", "can't read"),
        (
            r#"{"success":false,"error":"VALIDATION_ERROR: title","message":"The title is too long."}"#,
            "The title is too long.",
        ),
        (
            r#"{"success":false,"error":"INTERNAL_ERROR: x","message":"Try again."}"#,
            "couldn't add \"milk\": Try again.",
        ),
        (
            r#"{"truncated":true,"message":"Too long.","beginning":"{"}"#,
            "Too long.",
        ),
    ];
    for (result, expected) in results {
        let mut chat = Chat::new(&[]);
        let Answer::ToolCalls(calls) = chat.first("add milk") else {
            panic!()
        };
        let call = ToolCall::new("c".into(), calls[0].name.clone(), calls[0].arguments.to_string());
        chat.request.messages.push(Message {
            tool_calls: Some(vec![call]),
            ..Message::new("assistant", "")
        });
        let answered = Message {
            tool_call_id: Some("c".into()),
            ..Message::new("tool", result)
        };
        chat.request.messages.push(answered);
        let Answer::Text(reply) = answer(&chat.request) else {
            panic!("{result}")
        };
        assert!(
            reply.contains(expected) && !reply.contains("Added"),
            "{result}: {reply}"
        );
    }
}

#[test]
fn handles_long_repetitive_messages() {
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
        for prefix in ["", "add ", "add a task to ", "complete "] {
            let text: String = prefix.chars().chain(piece.chars().cycle()).take(2_000).collect();
            let mut chat = Chat::new(&["a", "b"]);
            assert!(!chat.say(&text).is_empty(), "{piece}");
        }
    }
}

/// The server may omit the tool calls of earlier turns if they are too long.
#[test]
fn resolves_references_without_earlier_tool_calls() {
    let table = [
        ("Added task 2: \"b\".", "mark it as done", "done 2"),
        (
            "[The tool calls made here are too long to be shown again.]\n\n2 tasks match \"x\":\n1. [ ] a\n3. [ ] c",
            "complete the second one",
            "done 3",
        ),
        (
            "Should I delete task 3: \"c\"? This can't be undone. Please answer yes or no.",
            "yes",
            "delete 3",
        ),
        (
            "Should I delete task 3: \"c\"? This can't be undone.\n\n[That run failed after these calls.]",
            "yes",
            "delete 3",
        ),
    ];
    for (reply, message, call) in table {
        let mut chat = Chat::new(&["a", "b", "c"]);
        chat.request.messages.push(Message::new("user", "something"));
        chat.request.messages.push(Message::new("assistant", reply));
        chat.say(message);
        assert_eq!(chat.calls, [call], "{reply}");
    }
}
