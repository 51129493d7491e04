//! External MCP servers in chats: which tools are offered, which are called, and how server failures are handled.

use std::time::{Duration, Instant};

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{AgentsFile, Builder, McpFault, McpFixture, Reply, TestApp, eventually};
use serde_json::{Value, json};

use crate::workers::{runs, tasks};

fn with_agents(builder: Builder, file: &AgentsFile) -> Builder {
    builder.api(file.setting()).worker(file.setting())
}

pub(crate) async fn start(file: &AgentsFile) -> TestApp {
    with_agents(TestApp::builder(), file).start().await
}

pub(crate) fn call(tool: &str, arguments: &Value) -> (String, String) {
    (tool.to_owned(), arguments.to_string())
}

pub(crate) fn pay(amount: i64) -> (String, String) {
    call("shop__pay", &json!({"amount": amount}))
}

/// A model that requests these calls once and then replies.
pub(crate) fn once(calls: Vec<(String, String)>) -> Script {
    Script::new().then([Behaviour::ToolCalls(calls), Behaviour::reply("Done.")])
}

/// The results of a reply's calls.
fn results(reply: &Reply) -> Vec<Value> {
    let calls = reply.body["tool_calls"].as_array().unwrap();
    calls.iter().map(|call| call["result"].clone()).collect()
}

/// For each call, `true` or its error code.
pub(crate) fn codes(reply: &Reply) -> Vec<String> {
    results(reply)
        .iter()
        .map(|result| match result["error"].as_str() {
            Some(error) => error.split(':').next().unwrap_or_default().to_owned(),
            None => result["success"].to_string(),
        })
        .collect()
}

/// The tools that the model was offered last.
pub(crate) fn offered(app: &TestApp) -> Vec<String> {
    let request = app.model.requests().last().unwrap().json();
    let tools = request["tools"].as_array().cloned().unwrap_or_default();
    tools
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap().to_owned())
        .filter(|name| name.starts_with("shop__"))
        .collect()
}

#[tokio::test]
async fn mcp_tools_are_offered_and_called_once() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file("headers = { x-key = { env = \"PATH\" } }"));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    let milk = call("add_task", &json!({"title": "milk"}));
    app.model.script(once(vec![
        pay(3),
        milk,
        call("shop__look", &json!({"amount": 0})),
    ]));
    let reply = user.chat("buy milk").await;
    assert_eq!(reply.text("message"), "Done.", "{}", reply.body);
    assert_eq!(codes(&reply), ["true"; 3]);
    assert_eq!(
        results(&reply)[0],
        json!({"success": true, "message": "pay {\"amount\":3}"})
    );
    assert_eq!(
        reply.body["tool_calls"][0]["arguments"]["user_id"],
        user.id.to_string()
    );
    assert_eq!(offered(&app), ["shop__pay", "shop__put", "shop__look"]);
    assert_eq!(tasks(&app).await, 1);
    let mut effects = shop.effects();
    effects.sort_by(|one, other| one.tool.cmp(&other.tool));
    let done: Vec<_> = effects
        .iter()
        .map(|effect| (effect.tool.as_str(), &effect.arguments))
        .collect();
    assert_eq!(
        done,
        [("look", &json!({"amount": 0})), ("pay", &json!({"amount": 3}))]
    );
    let run_id = reply.text("run_id");
    let keys: Vec<_> = effects.iter().map(|effect| effect.key.clone()).collect();
    assert_eq!(keys, [format!("{run_id}-0-2"), format!("{run_id}-0-0")]);
    let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
    for headers in shop.requests() {
        assert_eq!(headers["x-key"].to_str().unwrap(), path);
    }
    // The next model call contains the outcome.
    app.model
        .script(Script::new().otherwise(Behaviour::reply("Yes.")));
    let next = user.chat_in(reply.id("conversation_id"), "is it paid?").await;
    assert_eq!(next.status, 200, "{}", next.body);
    let request = app.model.requests().last().unwrap().json();
    assert!(request["messages"].to_string().contains("pay {"), "{request}");
}

#[tokio::test]
async fn failed_mcp_call_is_a_result_for_the_model() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file("max_result_bytes = 2048\ntimeout_seconds = 1"));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    let cases = [
        (
            None,
            call("shop__pay", &json!({"amount": "three"})),
            "VALIDATION_ERROR",
            0,
        ),
        (None, call("shop__pay", &json!({})), "VALIDATION_ERROR", 0),
        (None, call("shop__steal", &json!({})), "TOOL_UNAVAILABLE", 0),
        (None, call("mall__pay", &json!({})), "UNKNOWN_TOOL", 0),
        (
            Some(McpFault::Fail("no\0 money".to_owned())),
            pay(1),
            "TOOL_FAILED",
            1,
        ),
        (
            Some(McpFault::Refuse("not so".to_owned())),
            pay(1),
            "TOOL_FAILED",
            1,
        ),
        (Some(McpFault::Huge(1_000_000)), pay(1), "true", 1),
        (Some(McpFault::Hang), pay(1), "OUTCOME_UNKNOWN", 1),
        (
            Some(McpFault::Hang),
            call("shop__look", &json!({"amount": 1})),
            "TOOL_UNAVAILABLE",
            1,
        ),
        (None, pay(1), "true", 1),
    ];
    let mut effects = 0;
    for (fault, call, code, new_effects) in cases {
        if let Some(fault) = fault.clone() {
            shop.next_call(fault);
        }
        app.model.script(once(vec![call.clone()]));
        let reply = user.chat("go on").await;
        assert_eq!(reply.text("message"), "Done.", "{call:?}: {}", reply.body);
        assert_eq!(codes(&reply), [code], "{call:?}: {}", reply.body);
        effects += new_effects;
        assert_eq!(shop.effects().len(), effects, "{call:?}");
        let result = results(&reply)[0].to_string();
        assert!(result.len() < 4096, "{call:?}: {} bytes", result.len());
    }
}

#[tokio::test]
async fn mcp_server_that_dies_during_a_call_is_used_again_after_its_restart() {
    let mut shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file(""));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once(vec![pay(3)]));
    shop.next_call(McpFault::Hang);
    let posted = user.chat_async(None, "pay").await;
    shop.wait_for_effects(1).await;
    shop.kill();
    let start = Instant::now();
    let reply = user.wait(posted.id("run_id")).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(reply.text("message"), "Done.", "{}", reply.body);
    assert_eq!(codes(&reply), ["OUTCOME_UNKNOWN"]);

    // While it is down, chats continue without it, immediately.
    app.model.script(once(vec![pay(4)]));
    let start = Instant::now();
    let reply = user.chat("pay again").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(codes(&reply), ["TOOL_UNAVAILABLE"]);
    assert_eq!(offered(&app), Vec::<String>::new());

    shop.restart().await;
    app.model.script(Script::new().otherwise(Behaviour::reply("Hm.")));
    eventually("its tools are offered again", || async {
        user.chat("anything?").await;
        offered(&app).len() == 3
    })
    .await;
    app.model.script(once(vec![pay(5)]));
    let reply = user.chat("pay").await;
    assert_eq!(codes(&reply), ["true"], "{}", reply.body);
    assert_eq!(shop.effects().len(), 2);
}

#[tokio::test]
async fn mcp_call_of_a_cancelled_run_has_an_unknown_outcome() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file(""));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once(vec![pay(3)]));
    shop.next_call(McpFault::Hang);
    let posted = user.chat_async(None, "pay").await;
    shop.wait_for_effects(1).await;
    let cancel = user
        .post(&format!("/runs/{}/cancel", posted.text("run_id")), Value::Null)
        .await;
    assert_eq!(cancel.status, 202, "{}", cancel.body);
    let cancelled = user.wait(posted.id("run_id")).await;
    assert_eq!(cancelled.text("status"), "cancelled");
    assert_eq!(codes(&cancelled), ["OUTCOME_UNKNOWN"], "{}", cancelled.body);
    assert_eq!(runs(&app).await, ["cancelled 1 0 0"]);
}

#[tokio::test]
async fn agent_has_only_the_mcp_tools_it_selects() {
    let shop = McpFixture::start();
    let agents = "[agents.one]\ntools = [\"shop.look\"]\n[agents.all]\ntools = [\"add_task\", \"shop.*\"]\n\
                  [agents.none]\ntools = [\"add_task\"]";
    let file = AgentsFile::new(&shop.agents_file(agents));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    for (agent, expected) in [
        ("one", vec!["shop__look"]),
        ("all", vec!["shop__pay", "shop__put", "shop__look"]),
        ("none", vec![]),
    ] {
        app.model.script(once(vec![pay(1)]));
        let reply = user
            .post("/chat", json!({"message": "pay", "agent": agent}))
            .await;
        let code = if agent == "all" { "true" } else { "UNKNOWN_TOOL" };
        assert_eq!(codes(&reply), [code], "{agent}: {}", reply.body);
        assert_eq!(offered(&app), expected, "{agent}");
    }
    assert_eq!(shop.effects().len(), 1);
}

#[tokio::test]
async fn mcp_redirects_are_not_followed() {
    let shop = McpFixture::start();
    let thief = McpFixture::start();
    let text = format!(
        "[[mcp_servers]]\nname = \"shop\"\nurl = \"{}\"\nallow_private = true\n\
         headers = {{ authorization = {{ env = \"PATH\" }} }}",
        shop.redirecting_url(&thief.url())
    );
    let file = AgentsFile::new(&text);
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(Script::new().otherwise(Behaviour::reply("Hm.")));
    assert_eq!(user.chat("anything?").await.text("message"), "Hm.");
    assert_eq!(offered(&app), Vec::<String>::new());
    assert!(!shop.requests().is_empty());
    assert_eq!(thief.requests().len(), 0);
}

#[tokio::test]
async fn private_mcp_address_requires_permission() {
    let shop = McpFixture::start();
    // A host name, because a private IP address is rejected at startup.
    let url = shop.url().replace("127.0.0.1", "localhost");
    let file = AgentsFile::new(&format!("[[mcp_servers]]\nname = \"shop\"\nurl = \"{url}\""));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once(vec![pay(1)]));
    let reply = user.chat("pay").await;
    assert_eq!(codes(&reply), ["TOOL_UNAVAILABLE"], "{}", reply.body);
    assert_eq!(shop.requests().len(), 0);
}
