//! The demo model in the whole system: its own chats, checked by the called tools and by the database.

use errand_testkit::{Reply, TestApp, User};
use reqwest::Method;
use serde_json::json;

/// The chats of the demo model's own tests, which describe their format.
const CHATS: [&str; 5] = [
    include_str!("../../../dev/demo-model/tests/it/dialogues/deleting_asks_for_confirmation.txt"),
    include_str!("../../../dev/demo-model/tests/it/dialogues/replies_follow_tool_results.txt"),
    include_str!("../../../dev/demo-model/tests/it/dialogues/finding_tasks_by_title.txt"),
    include_str!("../../../dev/demo-model/tests/it/dialogues/missing_details_are_requested.txt"),
    include_str!("../../../dev/demo-model/tests/it/dialogues/references_to_earlier_tasks.txt"),
];

/// The tool for a short name in these chats.
fn tool(short: &str) -> &'static str {
    match short.split(' ').next().unwrap_or_default() {
        "add" => "add_task",
        "list" => "list_tasks",
        "done" | "reopen" => "complete_task",
        "title" | "describe" => "update_task",
        "delete" => "delete_task",
        other => panic!("an unknown call: {other}"),
    }
}

/// The values of a line of a chat, split at a separator.
fn members<'a>(chat: &'a str, key: &'a str, sign: &'a str) -> Vec<String> {
    chat.lines()
        .filter_map(|line| line.strip_prefix(key))
        .flat_map(|line| line.trim().split(sign))
        .filter(|member| !member.is_empty())
        .map(|member| member.replace("\\n", "\n"))
        .collect()
}

async fn play(app: &TestApp, user: &User, chat: &str) {
    for title in members(chat, "tasks:", " | ") {
        let (title, completed) = title
            .strip_prefix("[x] ")
            .map_or((&*title, false), |title| (title, true));
        let task = user.post("/tasks", json!({ "title": title })).await;
        assert_eq!(task.status, 201, "{chat}");
        if completed {
            let path = format!("/tasks/{}", task.body["id"]);
            let request = user
                .request(Method::PATCH, &path)
                .json(&json!({"completed": true}));
            assert_eq!(Reply::read(request).await.status, 200, "{chat}");
        }
    }
    let mut conversation = None;
    let mut tools = Vec::new();
    let mut reply = String::new();
    // Lines that start with `>` are whole messages.
    for message in members(chat, ">", "\u{0}") {
        let answer = user
            .post(
                "/chat",
                json!({"message": message, "conversation_id": conversation}),
            )
            .await;
        assert_eq!(answer.status, 200, "{chat}\n{}", answer.body);
        conversation = Some(answer.id("conversation_id"));
        tools = answer.tools().iter().map(|&tool| tool.to_owned()).collect();
        answer.text("message").clone_into(&mut reply);
    }
    let expected: Vec<_> = members(chat, "calls:", " ; ")
        .iter()
        .map(|short| tool(short))
        .collect();
    assert_eq!(tools, expected, "{chat}\n{reply}");
    let stored = "SELECT concat(number, ' ', title, ': ' || description, CASE WHEN completed THEN ' (x)' END) FROM tasks";
    let stored = app
        .database
        .texts(&format!("{stored} WHERE user_id = '{}' ORDER BY number", user.id))
        .await;
    assert_eq!(stored, members(chat, "list:", " | "), "{chat}\n{reply}");
    for words in members(chat, "reply:", "\u{0}") {
        assert!(reply.contains(&words), "{chat}\n{reply}");
    }
}

#[tokio::test]
async fn demo_chats_have_the_expected_effect_on_the_database() {
    let app = TestApp::builder()
        .api("--rate-limit-chat-per-minute=0")
        .start()
        .await;
    let mut played = 0;
    for chat in CHATS.iter().flat_map(|chats| chats.split("\n\n")) {
        let user = app.user("Ada").await;
        play(&app, &user, chat.trim()).await;
        played += 1;
    }
    assert!(played > 100, "{played}");
    let rejected: Vec<_> = app
        .model
        .requests()
        .iter()
        .filter_map(|request| request.rejected.clone())
        .collect();
    assert!(rejected.is_empty(), "{rejected:?}");
}
