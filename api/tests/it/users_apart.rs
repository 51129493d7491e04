//! Users cannot see or change resources of other users.

use errand_testkit::{Reply, TestApp};
use reqwest::Method;
use serde_json::json;

/// Every route below `/api/{user_id}`.
fn routes(conversation: &str, run: &str) -> Vec<(Method, String)> {
    [
        (Method::POST, "/chat".to_owned()),
        (Method::GET, format!("/runs/{run}")),
        (Method::POST, format!("/runs/{run}/retry")),
        (Method::POST, format!("/runs/{run}/cancel")),
        (Method::GET, "/conversations".to_owned()),
        (Method::GET, format!("/conversations/{conversation}")),
        (Method::PATCH, format!("/conversations/{conversation}")),
        (Method::DELETE, format!("/conversations/{conversation}")),
        (Method::GET, format!("/conversations/{conversation}/messages")),
        (Method::GET, "/tasks".to_owned()),
        (Method::POST, "/tasks".to_owned()),
        (Method::GET, "/tasks/1".to_owned()),
        (Method::PATCH, "/tasks/1".to_owned()),
        (Method::DELETE, "/tasks/1".to_owned()),
    ]
    .into()
}

fn body() -> serde_json::Value {
    json!({"message": "hi", "title": "mine now", "completed": true})
}

#[tokio::test]
async fn every_route_checks_the_token_then_the_ids_then_the_user() {
    let app = TestApp::start().await;
    let ada = app.user("Ada").await;
    let eve = app.user("Eve").await;
    let chat = ada.chat("Add a task to buy milk").await;
    let (conversation, run) = (
        chat.text("conversation_id").to_owned(),
        chat.text("run_id").to_owned(),
    );

    for (method, path) in routes(&conversation, &run) {
        let url = format!("{}/api/{}{path}", app.url(), ada.id);
        let request = || app.http().request(method.clone(), &url).json(&body());
        for token in ["", "nonsense", "a.b.c"] {
            let reply = Reply::read(request().bearer_auth(token)).await;
            assert_eq!(reply.status, 401, "{method} {path} {token}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
            assert_eq!(reply.headers["content-type"], "application/problem+json");
        }
        assert_eq!(
            Reply::read(request()).await.status,
            401,
            "{method} {path} without a token"
        );

        let reply = Reply::read(request().bearer_auth(&eve.token)).await;
        assert_eq!(reply.status, 403, "{method} {path}");
        assert_eq!(reply.text("detail"), "Cannot access another user's chat");

        let malformed = format!("{}/api/not-a-uuid{path}", app.url());
        let reply = Reply::read(
            app.http()
                .request(method.clone(), malformed)
                .json(&body())
                .bearer_auth(&eve.token),
        )
        .await;
        assert_eq!(reply.status, 422, "{method} {path} with a malformed user id");
    }
    for (method, path) in routes("not-a-uuid", "not-a-uuid")
        .into_iter()
        .filter(|(_, path)| path.contains("not-a-uuid"))
    {
        let reply = Reply::read(ada.request(method.clone(), &path).json(&body())).await;
        assert_eq!(reply.status, 422, "{method} {path}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn resources_of_another_user_are_not_found() {
    let app = TestApp::start().await;
    let ada = app.user("Ada").await;
    let eve = app.user("Eve").await;
    let chat = ada.chat("Add a task to buy milk").await;
    let (conversation, run) = (
        chat.text("conversation_id").to_owned(),
        chat.text("run_id").to_owned(),
    );
    let counts = "SELECT (SELECT count(*) FROM messages) * 1000 + (SELECT count(*) FROM runs)";
    let before = app.database.count(counts).await;

    for (method, path) in routes(&conversation, &run) {
        if !path.contains(&conversation) && !path.contains(&run) && !path.ends_with("/1") {
            continue;
        }
        let reply = Reply::read(eve.request(method.clone(), &path).json(&body())).await;
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.body);
    }
    let reply = eve.chat_in(chat.id("conversation_id"), "hi").await;
    assert_eq!(reply.status, 404);
    assert_eq!(
        reply.text("detail"),
        format!("Conversation {conversation} not found")
    );
    assert_eq!(app.database.count(counts).await, before);
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM conversations WHERE title = 'mine now'")
            .await,
        0
    );

    let listed = eve.chat("Show me all my tasks").await;
    assert!(!listed.text("message").contains("milk"), "{}", listed.body);
    assert_eq!(listed.body["tool_calls"][0]["result"]["total"], 0);
}

#[tokio::test]
async fn a_user_id_from_the_model_is_overwritten() {
    use errand_fake_model::{Behaviour, Script};
    let app = TestApp::builder().start().await;
    let ada = app.user("Ada").await;
    let eve = app.user("Eve").await;
    ada.post("/tasks", json!({"title": "secret"})).await;
    let arguments = json!({"user_id": ada.id, "completed": false}).to_string();
    app.model.script(Script::new().when(
        "peek",
        [
            Behaviour::tool_call("list_tasks", arguments),
            Behaviour::reply("Done."),
        ],
    ));
    let reply = eve.chat("peek").await;
    assert_eq!(
        reply.body["tool_calls"][0]["arguments"]["user_id"],
        eve.id.to_string()
    );
    assert_eq!(reply.body["tool_calls"][0]["result"]["tasks"], json!([]));
}
