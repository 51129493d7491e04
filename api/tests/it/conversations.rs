//! Conversations and their messages: listing, paging, renaming and deleting.

use chrono::{DateTime, Utc};
use errand_fake_model::{Behaviour, Gate, Script};
use errand_shared::Uuid;
use errand_testkit::{Reply, TestApp, User};
use reqwest::Method;
use serde_json::{Value, json};

async fn patch(user: &User, path: &str, body: Value) -> Reply {
    Reply::read(user.request(Method::PATCH, path).json(&body)).await
}

async fn delete(user: &User, path: &str) -> Reply {
    Reply::read(user.request(Method::DELETE, path)).await
}

/// Reads all pages. Returns their sizes and the values of one field of their items.
async fn pages(user: &User, path: &str, cursor: &str, member: &str) -> (Vec<usize>, Vec<Value>) {
    let (mut sizes, mut values) = (Vec::new(), Vec::new());
    let mut next = path.to_owned();
    loop {
        let page = user.get(&next).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let items = page.body["items"].as_array().unwrap();
        sizes.push(items.len());
        values.extend(items.iter().map(|item| item[member].clone()));
        match &page.body["next_cursor"] {
            Value::Null => return (sizes, values),
            Value::String(text) => next = format!("{path}&{cursor}={text}"),
            other => panic!("{other}"),
        }
    }
}

fn time(reply: &Reply, member: &str) -> DateTime<Utc> {
    reply.text(member).parse().unwrap()
}

/// Deletes all conversations, which ends their open runs.
async fn delete_all(user: &User) {
    for item in user.get("/conversations?limit=100").await.body["items"]
        .as_array()
        .unwrap()
    {
        let path = format!("/conversations/{}", item["id"].as_str().unwrap());
        assert_eq!(delete(user, &path).await.status, 204);
    }
}

#[tokio::test]
async fn conversations_are_listed_newest_first_without_gaps_or_repeats() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let empty = user.get("/conversations").await;
    assert_eq!(empty.body, json!({"items": [], "next_cursor": null}));
    let mut ids = Vec::new();
    for _ in 0..7 {
        let queued = user.chat_async(None, "hi").await;
        ids.insert(0, queued.body["conversation_id"].clone());
    }
    app.user("Eve").await;

    for (limit, sizes) in [(1, vec![1; 7]), (3, vec![3, 3, 1]), (7, vec![7]), (100, vec![7])] {
        let listed = pages(&user, &format!("/conversations?limit={limit}"), "cursor", "id").await;
        assert_eq!(listed, (sizes, ids.clone()), "limit {limit}");
    }

    let oldest: Uuid = ids[6].as_str().unwrap().parse().unwrap();
    assert_eq!(user.chat_async(Some(oldest), "again").await.status, 202);
    ids.rotate_right(1);
    let listed = pages(&user, "/conversations?limit=2", "cursor", "id").await;
    assert_eq!(listed, (vec![2, 2, 2, 1], ids));

    app.database
        .execute("UPDATE conversations SET updated_at = '2026-01-02 03:04:05.678901Z'")
        .await
        .unwrap();
    let (sizes, mut listed) = pages(&user, "/conversations?limit=2", "cursor", "id").await;
    assert_eq!(sizes, [2, 2, 2, 1], "also if all have the same time");
    listed.sort_unstable_by_key(ToString::to_string);
    listed.dedup();
    assert_eq!(listed.len(), 7);
    delete_all(&user).await;
}

#[tokio::test]
async fn new_conversations_do_not_change_later_pages() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let queued = user.chat_async(None, "hi").await;
        ids.insert(0, queued.body["conversation_id"].clone());
    }
    let first = user.get("/conversations?limit=2").await;
    user.chat_async(None, "one more").await;
    let path = format!("/conversations?limit=2&cursor={}", first.text("next_cursor"));
    let (_, rest) = pages(&user, &path, "unused", "id").await;
    assert_eq!(rest, ids[2..]);
    delete_all(&user).await;
}

#[tokio::test]
async fn an_invalid_limit_or_cursor_is_422() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let queued = user.chat_async(None, "hi").await;
    user.chat_async(None, "hi").await;
    let messages = format!("/conversations/{}/messages", queued.text("conversation_id"));
    let other_lists = user.get("/conversations?limit=1").await;
    let other_lists = other_lists.text("next_cursor");
    assert!(!other_lists.is_empty());
    for (list, cursor) in [("/conversations", "cursor"), (messages.as_str(), "before")] {
        for (query, field) in [
            ("limit=0".to_owned(), "limit"),
            ("limit=101".to_owned(), "limit"),
            ("limit=-1".to_owned(), "limit"),
            ("limit=many".to_owned(), "limit"),
            ("limit=1&limit=2".to_owned(), "limit"),
            (format!("{cursor}="), cursor),
            (format!("{cursor}=nonsense"), cursor),
            (format!("{cursor}=%00"), cursor),
        ] {
            let reply = user.get(&format!("{list}?{query}")).await;
            assert_eq!(reply.status, 422, "{list}?{query}: {}", reply.body);
            assert_eq!(reply.headers["content-type"], "application/problem+json");
            assert_eq!(reply.body["errors"][0]["field"], field, "{query}");
        }
    }
    for query in [format!("before={other_lists}"), "include=everything".to_owned()] {
        let reply = user.get(&format!("{messages}?{query}")).await;
        assert_eq!(reply.status, 422, "{query}: {}", reply.body);
    }
    delete_all(&user).await;
}

#[tokio::test]
async fn a_conversation_names_its_open_run() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let first = user.chat_async(None, "Hello").await;
    let second = user
        .chat_async(Some(first.id("conversation_id")), "Hello again")
        .await;
    let path = format!("/conversations/{}", first.text("conversation_id"));
    let open = user.get(&path).await;
    assert_eq!(open.status, 200);
    assert_eq!(open.body["id"], first.body["conversation_id"]);
    assert_eq!(open.body["active_run_id"], first.body["run_id"]);
    assert_eq!(open.body.as_object().unwrap().len(), 6, "{}", open.body);
    let (created, updated) = (time(&open, "created_at"), time(&open, "updated_at"));
    assert!(created < updated, "{}", open.body);
    let title = open.text("title");
    assert_eq!(title, created.format("Chat %Y-%m-%d %H:%M").to_string());

    let cancel = format!("/runs/{}/cancel", first.text("run_id"));
    assert_eq!(user.post(&cancel, Value::Null).await.status, 202);
    assert_eq!(user.get(&path).await.body["active_run_id"], second.body["run_id"]);
    let _worker = app.start_worker().await;
    assert_eq!(user.wait(second.id("run_id")).await.status, 200);
    assert_eq!(user.get(&path).await.body["active_run_id"], Value::Null);
}

#[tokio::test]
async fn a_conversation_can_be_renamed_to_a_valid_title() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let queued = user.chat_async(None, "hi").await;
    let path = format!("/conversations/{}", queued.text("conversation_id"));
    for title in ["x".to_owned(), " Ärger & 李 ".to_owned(), "🦀".repeat(255)] {
        let renamed = patch(&user, &path, json!({"title": title})).await;
        assert_eq!(renamed.status, 200, "{}", renamed.body);
        assert_eq!(renamed.text("title"), title);
        assert_eq!(renamed.body["active_run_id"], queued.body["run_id"]);
        assert_eq!(user.get(&path).await.body, renamed.body);
    }
    for body in [
        json!({"title": ""}),
        json!({"title": " \n\u{3000}"}),
        json!({"title": "🦀".repeat(256)}),
        json!({"title": "a\u{0}b"}),
        json!({"title": null}),
        json!({"title": 5}),
        json!({}),
    ] {
        let refused = patch(&user, &path, body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], "title", "{body}");
    }
    assert_eq!(user.get(&path).await.text("title"), "🦀".repeat(255));
    delete_all(&user).await;
}

#[tokio::test]
async fn a_deleted_conversation_is_not_found_anywhere() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let kept = user.chat_async(None, "keep me").await;
    let posted = user.chat_async(None, "hi").await;
    let id = posted.id("conversation_id");
    let second = user.chat_async(Some(id), "hi again").await;
    let waits = async { user.wait(second.id("run_id")).await };
    let path = format!("/conversations/{id}");
    let deletes = async {
        assert_eq!(delete(&user, &path).await.status, 204);
    };
    let (waited, ()) = tokio::join!(waits, deletes);
    // A subscriber from before the deletion gets a final event; a later one gets a 404.
    assert!(
        waited.text("status") == "cancelled" || waited.status == 404,
        "{}",
        waited.body
    );

    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::PATCH, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("{path}/messages")),
        (Method::GET, format!("/runs/{}", posted.text("run_id"))),
        (Method::POST, format!("/runs/{}/retry", posted.text("run_id"))),
        (Method::POST, format!("/runs/{}/cancel", second.text("run_id"))),
    ] {
        let reply = Reply::read(user.request(method.clone(), &path).json(&json!({"title": "x"}))).await;
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
    assert_eq!(user.chat_in(id, "hi").await.status, 404);
    let (_, listed) = pages(&user, "/conversations?limit=100", "cursor", "id").await;
    assert_eq!(listed, [kept.body["conversation_id"].clone()]);
    for table in ["messages", "runs"] {
        let left = format!("SELECT count(*) FROM {table} WHERE conversation_id = '{id}'");
        assert_eq!(app.database.count(&left).await, 0, "{table}");
    }
    delete_all(&user).await;
}

#[tokio::test]
async fn deleting_a_conversation_ends_waiting_requests() {
    let mut app = TestApp::start().await;
    let user = app.user("Ada").await;
    let gate = Gate::new();
    app.model.script(Script::new().when(
        "milk",
        [Behaviour::tool_call("add_task", r#"{"title":"milk"}"#).behind(&gate)],
    ));
    let chat = user.chat("milk");
    let deletes = async {
        gate.wait_arrived(1).await;
        delete_all(&user).await;
    };
    let (chat, ()) = tokio::join!(chat, deletes);
    assert_eq!(chat.status, 409, "{}", chat.body);
    assert_eq!(chat.text("status"), "cancelled");
    gate.release();
    let next = user.chat("Hello").await;
    assert_eq!(next.status, 200, "the worker continues: {}", next.body);
    app.take_worker().stop().await;
    let tasks = app.database.count("SELECT count(*) FROM tasks").await;
    assert_eq!(tasks, 0, "the cancelled run added no task");
}

#[tokio::test]
async fn messages_are_ordered_and_tool_messages_are_optional() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let added = user.chat("Add a task to buy milk").await;
    let id = added.id("conversation_id");
    let listed = user.chat_in(id, "Show me all my tasks").await;
    let path = format!("/conversations/{id}/messages");

    let plain = user.get(&path).await;
    assert_eq!(plain.status, 200);
    assert_eq!(plain.body["next_cursor"], Value::Null);
    let plain = plain.body["items"].as_array().unwrap();
    let roles = |items: &[Value]| -> Vec<String> {
        items
            .iter()
            .map(|item| item["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles(plain), ["user", "assistant", "user", "assistant"]);
    for (message, run) in plain.iter().zip([&added, &added, &listed, &listed]) {
        assert_eq!(message["run_id"], run.body["run_id"]);
        for absent in ["tool_call_id", "name"] {
            assert!(message.get(absent).is_none(), "{message}");
        }
    }
    assert_eq!(plain[0]["tool_calls"], Value::Null);
    assert_eq!(plain[1]["tool_calls"], added.body["tool_calls"]);
    assert_eq!(plain[3]["content"], listed.body["message"]);

    let whole = user.get(&format!("{path}?include=tool")).await;
    let whole = whole.body["items"].as_array().unwrap();
    assert_eq!(
        roles(whole),
        ["user", "tool", "assistant", "user", "tool", "assistant"]
    );
    let seqs: Vec<_> = whole.iter().map(|item| item["seq"].as_i64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|before, after| before < after), "{seqs:?}");
    let without_tools: Vec<_> = whole.iter().filter(|item| item["role"] != "tool").collect();
    assert_eq!(without_tools, plain.iter().collect::<Vec<_>>());
    for (index, name, reply) in [(1, "add_task", &added), (4, "list_tasks", &listed)] {
        let tool = &whole[index];
        assert_eq!(tool["name"], name);
        assert!(!tool["tool_call_id"].as_str().unwrap().is_empty());
        let result: Value = serde_json::from_str(tool["content"].as_str().unwrap()).unwrap();
        assert_eq!(result, reply.body["tool_calls"][0]["result"]);
    }
    assert_ne!(whole[1]["tool_call_id"], whole[4]["tool_call_id"]);
}

#[tokio::test]
async fn pages_of_messages_go_from_the_newest_to_the_oldest() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let mut id = None;
    for number in 1..=4 {
        let reply = user
            .post(
                "/chat",
                json!({"message": format!("Add a task to do thing {number}"), "conversation_id": id}),
            )
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        id = Some(reply.id("conversation_id"));
    }
    let path = format!("/conversations/{}/messages", id.unwrap());
    for (include, count) in [("", 8), ("&include=tool", 12)] {
        let whole = user.get(&format!("{path}?limit=100{include}")).await;
        let whole = whole.body["items"].as_array().unwrap().clone();
        assert_eq!(whole.len(), count);
        for limit in [1, 5, 8] {
            let mut read = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = user.get(&format!("{path}?limit={limit}{include}{cursor}")).await;
                let items = page.body["items"].as_array().unwrap();
                assert!((1..=limit).contains(&items.len()));
                read.splice(..0, items.iter().cloned());
                if page.body["next_cursor"].is_null() {
                    break;
                }
                cursor = format!("&before={}", page.text("next_cursor"));
            }
            assert_eq!(read, whole, "limit {limit}{include}");
        }
    }
}
