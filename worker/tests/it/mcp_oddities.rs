//! MCP servers as they are: they change their tools, lose sessions and have odd schemas.

use errand_fake_model::{Behaviour, Script};
use errand_testkit::{
    AgentsFile, LostSession, McpAnnotations, McpFixture, eventually, mcp_tool, mcp_tool_with,
};
use serde_json::json;

use crate::mcp::{call, codes, offered, once, pay, start};

#[tokio::test]
async fn mcp_server_can_change_its_tools() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file("tools = [\"pay\", \"sell\", \"odd\"]"));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(Script::new().otherwise(Behaviour::reply("Hm.")));
    user.chat("anything?").await;
    assert_eq!(offered(&app), ["shop__pay"]);
    shop.change_tools(vec![
        mcp_tool("sell", McpAnnotations::new()),
        mcp_tool("put", McpAnnotations::new()),
        mcp_tool_with(
            "odd",
            &json!({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1/"}}}),
        ),
    ]);
    eventually("the new list is known", || async {
        user.chat("and now?").await;
        offered(&app) == ["shop__sell"]
    })
    .await;
    // A server that can't stop to change does not keep us busy.
    let before = shop.lists();
    for _ in 0..50 {
        shop.change_tools(vec![mcp_tool("pay", McpAnnotations::new())]);
    }
    eventually("the new list is known", || async {
        user.chat("and now?").await;
        offered(&app) == ["shop__pay"]
    })
    .await;
    assert!(shop.lists() - before <= 3, "{}", shop.lists() - before);
}

#[tokio::test]
async fn mcp_call_is_made_again_after_its_session_was_lost() {
    let shop = McpFixture::start();
    let file = AgentsFile::new(&shop.agents_file(""));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once(vec![pay(1)]));
    assert_eq!(codes(&user.chat("pay").await), ["true"]);
    shop.forget_sessions(LostSession::BadRequest);
    app.model.script(once(vec![pay(2), pay(3)]));
    let reply = user.chat("pay twice").await;
    assert_eq!(codes(&reply), ["true", "true"], "{}", reply.body);
    let effects = shop.effects();
    assert_eq!(effects.len(), 3);
    assert_ne!(effects[1].key, effects[2].key);
}

#[tokio::test]
async fn odd_schemas_are_adapted_for_the_model_and_still_checked() {
    let shop = McpFixture::start();
    shop.change_tools(vec![
        mcp_tool_with("ping", &json!({})),
        mcp_tool_with(
            "find",
            &json!({
                "type": "object",
                "properties": {"id": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}, "to": {"$ref": "#/$defs/To"}},
                "anyOf": [{"required": ["id"]}, {"required": ["to"]}],
                "$defs": {"To": {"type": "string", "pattern": "^(?!x)"}}
            }),
        ),
    ]);
    let file = AgentsFile::new(&shop.agents_file(""));
    let app = start(&file).await;
    let user = app.user("Ada").await;
    app.model.script(once(vec![
        call("shop__ping", &json!({})),
        call("shop__find", &json!({"to": "y"})),
        call("shop__find", &json!({"id": 0})),
        call("shop__find", &json!({})),
    ]));
    let reply = user.chat("find").await;
    let expected = ["true", "true", "VALIDATION_ERROR", "VALIDATION_ERROR"];
    assert_eq!(codes(&reply), expected, "{}", reply.body);
    let request = app.model.requests().last().unwrap().json();
    let tools = request["tools"].as_array().unwrap();
    let function = |name: &str| {
        let tool = tools.iter().find(|tool| tool["function"]["name"] == name);
        tool.unwrap()["function"].clone()
    };
    assert_eq!(
        function("shop__ping")["parameters"],
        json!({"type": "object", "properties": {}})
    );
    let find = function("shop__find");
    assert_eq!(
        find["description"],
        "Does find. Required arguments, one of: id | to."
    );
    assert_eq!(
        find["parameters"]["properties"],
        json!({
            "id": {"type": "integer", "description": "Greater than 0."},
            "to": {"type": "string", "description": "Pattern: ^(?!x)"}
        })
    );
}
