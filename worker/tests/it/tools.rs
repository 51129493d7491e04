//! The tools through the whole system, and how the loop handles invalid calls.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{Reply, TestApp};
use serde_json::{Value, json};

use crate::workers::{runs, tasks};

fn call(name: &str, arguments: &Value) -> (String, String) {
    (name.to_owned(), arguments.to_string())
}

fn add(title: &str) -> (String, String) {
    call("add_task", &json!({"title": title}))
}

/// The results of a reply's calls.
fn results(reply: &Reply) -> Vec<Value> {
    reply.body["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["result"].clone())
        .collect()
}

/// For each call, `true` or its error code.
fn codes(reply: &Reply) -> Vec<String> {
    results(reply)
        .iter()
        .map(|result| match result["error"].as_str() {
            Some(error) => error.split(':').next().unwrap_or_default().to_owned(),
            None => result["success"].to_string(),
        })
        .collect()
}

#[tokio::test]
async fn model_can_use_each_tool() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let stranger = app.user("Eve").await;
    let steps = [
        call(
            "add_task",
            &json!({"title": "milk", "description": "two litres", "user_id": stranger.id}),
        ),
        call("add_task", &json!({"title": "eggs"})),
        call("complete_task", &json!({"task_id": 1})),
        call("update_task", &json!({"task_id": 2, "title": "six eggs"})),
        call("list_tasks", &json!({"completed": false})),
        call("delete_task", &json!({"task_id": 2})),
        call("list_tasks", &json!({})),
    ];
    let behaviours = steps.iter().map(|step| Behaviour::ToolCalls(vec![step.clone()]));
    app.model
        .script(Script::new().then(behaviours.chain([Behaviour::reply("All done.")])));
    let reply = user.chat("a lot").await;
    assert_eq!(reply.text("message"), "All done.", "{}", reply.body);
    assert_eq!(codes(&reply), ["true"; 7]);
    let results = results(&reply);
    assert_eq!(results[0]["task"]["id"], 1);
    assert_eq!(results[0]["task"]["description"], "two litres");
    assert_eq!(results[2]["task"]["completed"], true);
    assert_eq!(results[3]["task"]["title"], "six eggs");
    assert_eq!(results[4]["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(results[5]["deleted_task"], json!({"id": 2, "title": "six eggs"}));
    assert_eq!(results[6]["total"], 1);
    for call in reply.body["tool_calls"].as_array().unwrap() {
        assert_eq!(call["arguments"]["user_id"], user.id.to_string(), "{call}");
    }
    assert_eq!(
        app.database
            .count(&format!(
                "SELECT count(*) FROM tasks WHERE user_id = '{}'",
                stranger.id
            ))
            .await,
        0
    );

    // The model receives each result as it is stored, without the user's id.
    let request = app.model.requests().pop().unwrap().json();
    let answers: Vec<Value> = request["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message["role"] == "tool")
        .map(|message| serde_json::from_str(message["content"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(answers, results);
    assert!(!request.to_string().contains(&user.id.to_string()));

    // The stored messages equal the response.
    let path = format!("/conversations/{}/messages", reply.text("conversation_id"));
    let messages = user.get(&path).await;
    assert_eq!(messages.body["items"][1]["tool_calls"], reply.body["tool_calls"]);
}

#[tokio::test]
async fn failed_call_is_a_result_for_the_model() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let eve = app.user("Eve").await;
    let hers = eve.post("/tasks", json!({"title": "hers"})).await;
    assert_eq!(hers.body["id"], 1);
    let raw = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
    let calls = vec![
        (call("complete_task", &json!({"task_id": 1})), "TASK_NOT_FOUND"),
        (
            call("update_task", &json!({"task_id": 1, "title": "mine"})),
            "TASK_NOT_FOUND",
        ),
        (
            call("delete_task", &json!({"task_id": 1, "user_id": eve.id})),
            "TASK_NOT_FOUND",
        ),
        (call("add_task", &json!({})), "VALIDATION_ERROR"),
        (add(" "), "VALIDATION_ERROR"),
        (add(&"x".repeat(256)), "VALIDATION_ERROR"),
        (call("list_tasks", &json!({"limit": 0})), "VALIDATION_ERROR"),
        (call("update_task", &json!({"task_id": 1})), "VALIDATION_ERROR"),
        (
            call("complete_task", &json!({"task_id": "one"})),
            "VALIDATION_ERROR",
        ),
        (raw("add_task", r#"{"title":"#), "VALIDATION_ERROR"),
        (raw("add_task", r#"["milk"]"#), "VALIDATION_ERROR"),
        (
            raw(
                "add_task",
                &format!(r#"{{"title":"milk","x":"{}"}}"#, "x".repeat(20_000)),
            ),
            "VALIDATION_ERROR",
        ),
        (
            raw(
                "list_tasks",
                &format!("{{\"a\":{}{}}}", "[".repeat(3000), "]".repeat(3000)),
            ),
            "VALIDATION_ERROR",
        ),
        (raw("drop_tables", "{}"), "UNKNOWN_TOOL"),
        (raw("add\u{0}_task\n", r#"{"title":"mi\u0000lk"}"#), "true"),
        (raw("list_tasks", ""), "true"),
    ];
    let (calls, expected): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(calls), Behaviour::reply("Recovered.")]));
    let reply = user.chat("try").await;
    assert_eq!(reply.text("message"), "Recovered.", "{}", reply.body);
    assert_eq!(codes(&reply), expected);
    for result in results(&reply) {
        assert!(
            result["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{result}"
        );
    }
    let titles = app.database.texts("SELECT title FROM tasks ORDER BY title").await;
    assert_eq!(titles, ["hers", "milk"]);

    app.model.script(Script::always(Behaviour::reply("Continued.")));
    let next = user.chat_in(reply.id("conversation_id"), "continue").await;
    assert_eq!(
        next.text("message"),
        "Continued.",
        "the history is valid for a provider: {}",
        next.body
    );
}

#[tokio::test]
async fn calls_beyond_the_limit_of_a_step_are_rejected() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let fifty = (0..50).map(|number| add(&number.to_string())).collect();
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(fifty), Behaviour::reply("Done.")]));
    let reply = user.chat("fifty").await;
    assert_eq!(reply.text("message"), "Done.", "{}", reply.body);
    let codes = codes(&reply);
    assert_eq!(codes[..16], ["true"; 16]);
    assert_eq!(codes[16..], ["VALIDATION_ERROR"; 34]);
    assert_eq!(tasks(&app).await, 16);

    let hundred = (0..100).map(|number| add(&number.to_string())).collect();
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(hundred)]));
    let reply = user.chat("a hundred").await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert!(reply.text("detail").contains("tool-loop limit"), "{}", reply.body);
    assert_eq!(tasks(&app).await, 16, "no call was made");
}

#[tokio::test]
async fn calls_with_the_same_id_are_distinguished() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let three = || Behaviour::DuplicateToolCallIds(vec![add("a"), add("b"), add("c")]);
    app.model
        .script(Script::new().then([three(), three(), Behaviour::reply("Done.")]));
    let reply = user.chat("six").await;
    assert_eq!(reply.text("message"), "Done.", "{}", reply.body);
    let calls = reply.body["tool_calls"].as_array().unwrap();
    let ids: std::collections::HashSet<_> = calls
        .iter()
        .map(|call| call["tool_call_id"].to_string())
        .collect();
    assert_eq!((calls.len(), ids.len()), (6, 6));
    assert_eq!(tasks(&app).await, 6);
    let next = user.chat_in(reply.id("conversation_id"), "Hello").await;
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn text_beside_tool_calls_is_recorded_and_sent_again() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    let text_and_call = Behaviour::ReplyWithToolCalls {
        content: "Let me\0 see.".to_owned(),
        calls: vec![add("milk")],
    };
    app.model
        .script(Script::new().then([text_and_call, Behaviour::reply("Done.")]));
    let reply = user.chat("milk").await;
    assert_eq!(reply.text("message"), "Done.");
    let request = app.model.requests().pop().unwrap().json();
    assert_eq!(request["messages"][2]["content"], "Let me see.");
    assert_eq!(
        app.database
            .texts("SELECT content FROM steps WHERE step = 0")
            .await,
        ["Let me see."]
    );
}

#[tokio::test]
async fn tool_that_fails_in_the_database_is_rolled_back_alone() {
    let app = TestApp::start().await;
    let user = app.user("Ada").await;
    app.database
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.title = 'bad' THEN RAISE 'a secret of the database'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    let step = vec![
        add("milk"),
        add("bad"),
        call("update_task", &json!({"task_id": 1, "title": "bad"})),
        call("delete_task", &json!({"task_id": 9})),
        add("eggs"),
    ];
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(step), Behaviour::reply("Some of it.")]));
    let reply = user.chat("go").await;
    assert_eq!(reply.text("message"), "Some of it.", "{}", reply.body);
    assert_eq!(
        codes(&reply),
        [
            "true",
            "INTERNAL_ERROR",
            "INTERNAL_ERROR",
            "TASK_NOT_FOUND",
            "true"
        ]
    );
    assert!(!reply.body.to_string().contains("secret"), "{}", reply.body);
    let stored = app
        .database
        .texts("SELECT concat(number, ' ', title) FROM tasks ORDER BY number")
        .await;
    assert_eq!(stored, ["1 milk", "2 eggs"]);
    let journal = app
        .database
        .texts("SELECT success::text FROM tool_calls ORDER BY call_index")
        .await;
    assert_eq!(journal, ["true", "false", "false", "false", "true"]);
    assert_eq!(runs(&app).await, ["succeeded 1 0 0"]);
}

#[tokio::test]
async fn internal_error_is_retried_and_then_reported() {
    let app = TestApp::builder()
        .worker("--run-max-attempts=2")
        .worker("--rescue-interval-ms=50")
        .start()
        .await;
    let user = app.user("Ada").await;
    app.database
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no journal'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON tool_calls FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await
        .unwrap();
    app.model
        .script(Script::always(Behaviour::ToolCalls(vec![add("milk")])));
    let reply = user.chat("go").await;
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert_eq!(
        reply.text("detail"),
        "Agent execution failed: repeated internal errors"
    );
    assert_eq!(runs(&app).await, ["failed 2 1 0"]);
    assert_eq!(
        app.database
            .count("SELECT count(*) FROM runs WHERE last_error LIKE '%no journal%'")
            .await,
        1
    );
    assert_eq!(tasks(&app).await, 0, "no effect without its journal");

    app.database
        .execute("DROP TRIGGER refuse ON tool_calls")
        .await
        .unwrap();
    app.model
        .script(Script::new().then([Behaviour::ToolCalls(vec![add("milk")]), Behaviour::reply("Done.")]));
    let retry = user
        .post(&format!("/runs/{}/retry", reply.text("run_id")), Value::Null)
        .await;
    assert_eq!(retry.status, 202, "{}", retry.body);
    assert_eq!(user.wait(reply.id("run_id")).await.text("message"), "Done.");
    assert_eq!(tasks(&app).await, 1);
}
