//! The main job: a message is stored, and its reply is returned.

use errand_testkit::{TestApp, User};
use serde_json::json;

#[tokio::test]
async fn a_task_is_added_listed_and_completed_in_one_conversation() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;

    let added = user.chat("Add a task to buy milk").await;
    assert_eq!(added.status, 200, "{}", added.body);
    assert_eq!(added.tools(), ["add_task"]);
    assert_eq!(added.body["tool_calls"][0]["result"]["task"]["title"], "buy milk");
    assert_eq!(
        added.body["tool_calls"][0]["arguments"]["user_id"],
        user.id.to_string()
    );
    assert!(
        added.text("message").to_lowercase().contains("buy milk"),
        "{}",
        added.body
    );
    assert_eq!(added.text("status"), "succeeded");
    let usage = &added.body["usage"];
    assert!(usage["prompt_tokens"].as_i64() > Some(0));
    assert_eq!(
        usage["total_tokens"].as_i64().unwrap(),
        usage["prompt_tokens"].as_i64().unwrap() + usage["completion_tokens"].as_i64().unwrap()
    );

    let conversation = added.id("conversation_id");
    let listed = user.chat_in(conversation, "Show me all my tasks").await;
    assert_eq!(listed.tools(), ["list_tasks"]);
    assert!(listed.text("message").contains("buy milk"), "{}", listed.body);
    assert_eq!(listed.id("conversation_id"), conversation);

    let done = user.chat_in(conversation, "Mark task 1 as done").await;
    assert_eq!(done.tools(), ["complete_task"]);
    assert_eq!(done.body["tool_calls"][0]["result"]["task"]["completed"], true);

    let db = &app.database;
    assert_eq!(
        db.count("SELECT count(*) FROM tasks WHERE number = 1 AND title = 'buy milk' AND completed")
            .await,
        1
    );
    assert_eq!(
        db.count("SELECT count(*) FROM conversations WHERE title LIKE 'Chat %'")
            .await,
        1
    );
    assert_eq!(
        db.count("SELECT count(*) FROM messages WHERE role = 'user'")
            .await,
        3
    );
    assert_eq!(
        db.count("SELECT count(*) FROM messages WHERE role = 'assistant' AND tool_calls IS NOT NULL")
            .await,
        3
    );
    assert_eq!(
        db.count("SELECT count(*) FROM messages WHERE role = 'tool'")
            .await,
        3
    );
    assert_eq!(
        db.count("SELECT count(*) FROM runs WHERE status = 'succeeded' AND attempt = 1")
            .await,
        3
    );
    assert_eq!(
        db.count("SELECT count(*) FROM steps WHERE model <> '' AND prompt_tokens > 0")
            .await,
        6
    );
    let sums = "SELECT count(*) FROM runs r WHERE r.prompt_tokens <> (SELECT sum(s.prompt_tokens) FROM steps s WHERE s.run_id = r.id)";
    assert_eq!(db.count(sums).await, 0);
}

#[tokio::test]
async fn every_route_returns_the_same_reply() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let chat = user.chat("Add a task to buy milk").await;
    let run = user.wait(chat.id("run_id")).await;
    assert_eq!(run.status, 200);
    assert_eq!(run.body, chat.body);
    let messages = user
        .get(&format!("/conversations/{}/messages", chat.id("conversation_id")))
        .await;
    let items = messages.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["role"], "user");
    assert_eq!(items[0]["content"], "Add a task to buy milk");
    assert_eq!(items[1]["content"], chat.body["message"]);
    assert_eq!(items[1]["tool_calls"], chat.body["tool_calls"]);
    assert_eq!(items[1]["run_id"], chat.body["run_id"]);
}

#[tokio::test]
async fn another_instance_continues_a_conversation() {
    let app = TestApp::builder().apis(2).start().await;
    let first = app.user("Ada").await;
    let second = first.at(app.url_of(1));
    let added = first.chat("Add a task to buy milk").await;
    let conversation = added.id("conversation_id");
    let queued = second
        .chat_async(Some(conversation), "Show me all my tasks")
        .await;
    assert_eq!(queued.status, 202);
    let listed = first.wait(queued.id("run_id")).await;
    assert_eq!(listed.status, 200);
    assert!(listed.text("message").contains("buy milk"));
}

#[tokio::test]
async fn the_model_receives_the_user_name_but_no_user_id() {
    let app = TestApp::start().await;
    let user = app.user("Grace Hopper").await;
    user.chat("Add a task to buy milk").await;
    let requests = app.model.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let text = request.json().to_string();
        assert!(text.contains("Grace Hopper"), "{text}");
        assert!(!text.contains(&user.id.to_string()), "{text}");
        assert!(!text.contains("user_id"), "{text}");
        assert!(text.contains("delete_task"), "{text}");
    }
}

#[tokio::test]
async fn messages_of_one_conversation_are_answered_one_at_a_time_in_order() {
    let app = TestApp::builder().workers(2).start().await;
    let user = app.user("Ada").await;
    let first = user.chat("Hello").await;
    let conversation = first.id("conversation_id");
    let mut runs = Vec::new();
    for number in 0..10 {
        let queued = user
            .chat_async(Some(conversation), &format!("Add a task to do thing {number}"))
            .await;
        assert_eq!(queued.status, 202, "{}", queued.body);
        runs.push(queued.id("run_id"));
    }
    for (number, run) in runs.iter().enumerate() {
        let answered = user.wait(*run).await;
        assert_eq!(
            answered.body["tool_calls"][0]["result"]["task"]["id"],
            json!(number + 1)
        );
    }
    let overlaps = "SELECT count(*) FROM runs a JOIN runs b ON a.conversation_id = b.conversation_id AND a.seq < b.seq \
                    AND a.finished_at > b.claimed_at";
    assert_eq!(app.database.count(overlaps).await, 0);
}

#[tokio::test]
async fn a_restart_of_everything_loses_nothing() {
    let mut app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let queued = user.chat_async(None, "Add a task to buy milk").await;
    app.stop_api(0).await;
    let mut redis = app.redis().await;
    let () = redis::cmd("DEL")
        .arg(app.ready_key())
        .query_async(&mut redis)
        .await
        .unwrap();
    let api = app.add_api().await;
    let user: User = user.at(app.url_of(api));
    let _worker = app.start_worker().await;
    let answered = user.wait(queued.id("run_id")).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(answered.tools(), ["add_task"]);
}

#[tokio::test]
async fn message_text_is_stored_exactly() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let long = "é🦀漢".repeat(666) + "xy";
    assert_eq!(long.chars().count(), 2000);
    for text in [
        "  Привет, как дела?  ",
        "سلام \u{200f}",
        "🧑‍🚀 <b>hi</b> '); DROP TABLE users;--",
        long.as_str(),
    ] {
        let reply = user.chat(text).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let page = user
            .get(&format!(
                "/conversations/{}/messages",
                reply.id("conversation_id")
            ))
            .await;
        assert_eq!(page.body["items"][0]["content"], text);
    }
}
