//! The to-do list over HTTP, which is the list that the agent's tools use.

use chrono::{DateTime, Utc};
use errand_testkit::{Reply, TestApp, User};
use reqwest::Method;
use serde_json::{Value, json};

async fn patch(user: &User, path: &str, body: Value) -> Reply {
    Reply::read(user.request(Method::PATCH, path).json(&body)).await
}

async fn delete(user: &User, path: &str) -> Reply {
    Reply::read(user.request(Method::DELETE, path)).await
}

async fn add(user: &User, title: &str) -> Reply {
    let added = user.post("/tasks", json!({"title": title})).await;
    assert_eq!(added.status, 201, "{}", added.body);
    added
}

/// The numbers of the tasks of a page.
fn numbers(page: &Reply) -> Vec<i64> {
    assert_eq!(page.status, 200, "{}", page.body);
    let items = page.body["items"].as_array().unwrap();
    items.iter().map(|task| task["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_task_can_be_added_read_updated_and_deleted() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let body = json!({"title": "buy milk", "description": "2 litres"});
    let added = user.post("/tasks", body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let location = added.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/{}/tasks/1", user.id));
    assert_eq!(added.body["id"], 1);
    assert_eq!(added.text("title"), "buy milk");
    assert_eq!(added.text("description"), "2 litres");
    assert_eq!(added.body["completed"], false);
    assert_eq!(added.body["created_at"], added.body["updated_at"]);
    assert_eq!(added.body.as_object().unwrap().len(), 6, "{}", added.body);
    let at_location = app
        .http()
        .get(format!("{}{location}", app.url()))
        .bearer_auth(&user.token);
    assert_eq!(Reply::read(at_location).await.body, added.body);

    let done = patch(&user, "/tasks/1", json!({"completed": true})).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.body["completed"], true);
    assert_eq!(done.text("title"), "buy milk");
    let time = |reply: &Reply| reply.text("updated_at").parse::<DateTime<Utc>>().unwrap();
    assert!(time(&done) > time(&added), "{}", done.body);
    let same = patch(&user, "/tasks/1", json!({"completed": true})).await;
    assert_eq!(
        same.body, done.body,
        "an update without a change keeps `updated_at`"
    );
    let renamed = patch(
        &user,
        "/tasks/1",
        json!({"title": "buy oat milk", "completed": false}),
    )
    .await;
    assert_eq!(renamed.text("title"), "buy oat milk");
    assert_eq!(renamed.text("description"), "2 litres");
    assert_eq!(renamed.body["completed"], false);
    for empty in [json!(""), Value::Null] {
        patch(&user, "/tasks/1", json!({"description": "again"})).await;
        let reply = patch(&user, "/tasks/1", json!({"description": empty})).await;
        assert_eq!(reply.body["description"], Value::Null, "{}", reply.body);
    }
    let read = user.get("/tasks/1").await;
    assert_eq!(read.status, 200);
    assert_eq!(read.text("title"), "buy oat milk");

    let deleted = delete(&user, "/tasks/1").await;
    assert_eq!((deleted.status.as_u16(), deleted.body), (204, Value::Null));
    assert_eq!(user.get("/tasks/1").await.status, 404);
    assert_eq!(
        patch(&user, "/tasks/1", json!({"completed": true})).await.status,
        404
    );
    assert_eq!(delete(&user, "/tasks/1").await.status, 404);
}

#[tokio::test]
async fn task_numbers_belong_to_a_user_and_are_not_reused() {
    let app = TestApp::builder().workers(0).start().await;
    let ada = app.user("Ada").await;
    let eve = app.user("Eve").await;
    for number in 1..=3 {
        assert_eq!(add(&ada, "thing").await.body["id"], number);
    }
    assert_eq!(add(&eve, "thing").await.body["id"], 1);
    for number in [3, 1, 2] {
        assert_eq!(delete(&ada, &format!("/tasks/{number}")).await.status, 204);
    }
    assert_eq!(add(&ada, "thing").await.body["id"], 4);
    assert_eq!(numbers(&ada.get("/tasks").await), [4]);
    assert_eq!(numbers(&eve.get("/tasks").await), [1]);

    let (a, b, c) = tokio::join!(add(&ada, "a"), add(&ada, "b"), add(&ada, "c"));
    let mut together: Vec<_> = [a, b, c]
        .iter()
        .map(|reply| reply.body["id"].as_i64().unwrap())
        .collect();
    together.sort_unstable();
    assert_eq!(together, [5, 6, 7]);
}

#[tokio::test]
async fn the_list_is_filtered_and_paged() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let empty = user.get("/tasks").await;
    assert_eq!(empty.body, json!({"items": [], "total": 0, "next_cursor": null}));
    for number in 1..=7 {
        let body = json!({"title": format!("Thing {number}"), "description": "50% of_ÄPFEL"});
        user.post("/tasks", body).await;
    }
    for number in [2, 4, 6] {
        patch(
            &user,
            &format!("/tasks/{number}"),
            json!({"completed": true, "description": ""}),
        )
        .await;
    }
    let list = async |query: &str| user.get(&format!("/tasks?{query}")).await;

    for (query, found, total) in [
        ("", vec![1, 2, 3, 4, 5, 6, 7], 7),
        ("completed=true", vec![2, 4, 6], 3),
        ("completed=false", vec![1, 3, 5, 7], 4),
        ("search=THING%203", vec![3], 1),
        ("search=%C3%A4pfel", vec![1, 3, 5, 7], 4),
        ("search=0%25+of_", vec![1, 3, 5, 7], 4),
        ("search=T_ing", vec![], 0),
        ("search=%25", vec![1, 3, 5, 7], 4),
        ("search=thing&completed=true&limit=2", vec![2, 4], 3),
        ("search=", vec![1, 2, 3, 4, 5, 6, 7], 7),
        ("limit=2&offset=3", vec![4, 5], 7),
        ("offset=6", vec![7], 7),
        ("offset=7", vec![], 7),
        ("offset=9223372036854775807", vec![], 7),
    ] {
        let page = list(query).await;
        assert_eq!(numbers(&page), found, "{query}");
        assert_eq!(page.body["total"], total, "{query}");
    }

    for filter in ["limit=3", "limit=2&completed=false"] {
        let whole = numbers(&list(&filter.replace("limit=2", "").replace("limit=3", "")).await);
        let mut read = Vec::new();
        let mut query = filter.to_owned();
        loop {
            let page = list(&query).await;
            read.extend(numbers(&page));
            if page.body["next_cursor"].is_null() {
                break;
            }
            query = format!("{filter}&cursor={}", page.text("next_cursor"));
        }
        assert_eq!(read, whole, "{filter}");
    }
}

#[tokio::test]
async fn an_invalid_request_is_422_and_changes_nothing() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let task = add(&user, "buy milk").await;
    let long_title = json!({"title": "🦀".repeat(256)});
    let long_description = json!({"title": "x", "description": "🦀".repeat(2001)});
    let both = [
        (json!({"title": ""}), "title"),
        (json!({"title": " \u{3000}"}), "title"),
        (json!({"title": "a\u{0}"}), "title"),
        (json!({"title": null}), "title"),
        (json!({"title": 7}), "title"),
        (long_title, "title"),
        (long_description, "description"),
        (json!({"title": "x", "description": 7}), "description"),
    ];
    for (body, field) in &both {
        for reply in [
            user.post("/tasks", body.clone()).await,
            patch(&user, "/tasks/1", body.clone()).await,
        ] {
            assert_eq!(reply.status, 422, "{body}: {}", reply.body);
            assert_eq!(reply.headers["content-type"], "application/problem+json");
            assert_eq!(reply.body["errors"][0]["field"], *field, "{body}");
        }
    }
    assert_eq!(user.post("/tasks", json!({})).await.status, 422);
    assert_eq!(user.post("/tasks", json!([])).await.status, 422);
    for body in [
        json!({}),
        json!({"other": 1}),
        json!({"completed": "yes"}),
        json!({"completed": null}),
    ] {
        let reply = patch(&user, "/tasks/1", body.clone()).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.body);
    }
    for query in [
        "completed=maybe",
        "limit=0",
        "limit=101",
        "offset=-1",
        "cursor=x",
        "search=%00",
        "search=a&search=b",
        &format!("search={}", "x".repeat(256)),
    ] {
        let reply = user.get(&format!("/tasks?{query}")).await;
        assert_eq!(reply.status, 422, "{query}: {}", reply.body);
    }
    for (id, status) in [
        ("x", 422),
        ("1.5", 422),
        ("9223372036854775808", 422),
        ("2", 404),
        ("9223372036854775807", 404),
    ] {
        let path = format!("/tasks/{id}");
        assert_eq!(user.get(&path).await.status, status, "{id}");
        assert_eq!(delete(&user, &path).await.status, status, "{id}");
        let changed = patch(&user, &path, json!({"completed": true})).await;
        assert_eq!(changed.status, status, "{id}");
        assert_eq!(changed.headers["content-type"], "application/problem+json");
    }
    assert_eq!(user.get("/tasks").await.body["items"], json!([task.body]));
}

#[tokio::test]
async fn task_text_is_stored_exactly() {
    let app = TestApp::builder().workers(0).start().await;
    let user = app.user("Ada").await;
    let family = "👩‍👩‍👧‍👦".repeat(36);
    for title in [
        "🧑‍🚀 <b>fly</b>'); DROP TABLE tasks;--",
        "  سلام \u{200f} ",
        "e\u{301} is not é",
        &family,
        &"🦀".repeat(255),
    ] {
        let description = format!("{title}\r\n\t{title}");
        let body = json!({"title": title, "description": description});
        let added = user.post("/tasks", body).await;
        assert_eq!(added.status, 201, "{}", added.body);
        let read = user.get(&format!("/tasks/{}", added.body["id"])).await;
        assert_eq!(read.text("title"), title);
        assert_eq!(read.text("description"), description);
    }
}

#[tokio::test]
async fn chats_and_routes_share_one_list() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let chat = user.chat("Add a task to buy milk").await;
    assert_eq!(chat.status, 200, "{}", chat.body);
    let task = user.get("/tasks/1").await;
    assert_eq!(task.status, 200);
    assert_eq!(task.body, chat.body["tool_calls"][0]["result"]["task"]);

    assert_eq!(add(&user, "water the 🌵").await.body["id"], 2);
    let listed = user.chat("Show me all my tasks").await;
    let result = &listed.body["tool_calls"][0]["result"];
    assert_eq!(result["total"], 2);
    assert_eq!(result["tasks"], user.get("/tasks").await.body["items"]);
    assert!(listed.text("message").contains("water the 🌵"), "{}", listed.body);

    let done = user.chat("Mark task 2 as done").await;
    assert_eq!(done.tools(), ["complete_task"], "{}", done.body);
    assert_eq!(numbers(&user.get("/tasks?completed=true").await), [2]);
    delete(&user, "/tasks/1").await;
    let left = user.chat("Show me all my tasks").await;
    assert!(!left.text("message").contains("milk"), "{}", left.body);
}
