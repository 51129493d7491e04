//! Servers as child processes: shell scripts that implement the protocol as far as the tests need it, and misbehave.

use errand_mcp_client::Outcome;
use errand_shared::domain::agents::McpTransport;
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A server that answers each request by its method. `call` handles tool calls, with the request's ID in `$id`.
fn script(call: &str) -> String {
    listing(
        r#"{"tools":[{"name":"do","inputSchema":{"type":"object"}}]}"#,
        call,
    )
}

/// The same with this result of `tools/list`. The number of lists is in `$lists`.
fn listing(tools: &str, call: &str) -> String {
    let start = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
    *'"initialize"'*) answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"tools/list"'*) lists=$((lists + 1)); answer '"#;
    let middle = r#"' ;;
    *'"tools/call"'*) "#;
    let end = " ;;\n    esac\ndone\n";
    format!("{start}{tools}{middle}{call}{end}")
}

fn start(script: String) -> Fixture {
    Fixture::new(McpTransport::Stdio {
        command: "sh".to_owned(),
        args: vec!["-c".to_owned(), script],
        env: Vec::new(),
    })
}

async fn call(fixture: &Fixture) -> Outcome {
    fixture.call("do", &Value::Null).await
}

#[tokio::test]
async fn starts_child_on_first_use_and_calls_its_tool() {
    let fixture = start(script(r#"answer '{"content":[{"type":"text","text":"done"}]}'"#));
    let outcome = call(&fixture).await;
    assert_eq!(outcome.result, json!({"success": true, "message": "done"}));
    let text = fixture.metrics.text().unwrap();
    for line in [
        "errand_mcp_calls_total{server=\"s\",outcome=\"succeeded\"} 1\n",
        "errand_mcp_connections_total{server=\"s\",outcome=\"opened\"} 1\n",
        "errand_mcp_connected{server=\"s\"} 1\n",
        "errand_mcp_tools{server=\"s\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    fixture.shut_down().await;
}

#[tokio::test]
async fn crash_during_call_has_unknown_outcome_and_restarts_child() {
    let fixture = start(script("exit 1"));
    for _ in 0..2 {
        let outcome = call(&fixture).await;
        let error = outcome.result["error"].as_str().unwrap();
        assert!(error.starts_with("OUTCOME_UNKNOWN: "), "{error}");
        // The child restarts. Until then, no tools are available.
        errand_testkit::eventually("the server is connected again", || async {
            fixture.server().listing().await.is_some()
        })
        .await;
    }
    fixture.shut_down().await;
}

#[tokio::test]
async fn broken_program_makes_its_tools_unavailable() {
    for script in [
        "exit 3".to_owned(),
        "echo nonsense; cat >/dev/null & exec sleep 0".to_owned(),
    ] {
        let fixture = start(script);
        let outcome = call(&fixture).await;
        let error = outcome.result["error"].as_str().unwrap();
        assert!(error.starts_with("TOOL_UNAVAILABLE: "), "{error}");
        assert_eq!(outcome.result["success"], Value::Bool(false));
        fixture.shut_down().await;
    }
}

#[tokio::test]
async fn unexpected_output_does_no_harm() {
    let output = r#"yes 'a line' | head -n 20000 >&2; echo nonsense; printf '{"jsonrpc":"2.0","id":777,"result":{}}\n'
        answer '{"content":[{"type":"text","text":"still here"}]}'"#;
    let fixture = start(script(output));
    assert_eq!(call(&fixture).await.result["message"], "still here");
    fixture.shut_down().await;
}

#[tokio::test]
async fn noise_on_standard_output_is_skipped() {
    let noise = r#"printf 'server 1.0, ready\n\n{"level":30,"msg":"listening"}\n[]\n42\n\377\n'"#;
    let rest = script(r#"echo working; answer '{"content":[{"type":"text","text":"done"}]}'"#);
    let fixture = start(format!("{noise}\n{rest}"));
    assert_eq!(call(&fixture).await.result["message"], "done");
    fixture.shut_down().await;
}

#[tokio::test]
async fn odd_tools_do_not_hide_others() {
    let tools = r#"{"nextCursor":null,"tools":[
        {"name":"do","description":null,"inputSchema":null,"more":[1]},
        {"name":7},
        {"name":"array","inputSchema":{"type":"array"}},
        {"name":"email","inputSchema":{"type":["object","null"],"properties":{"to":{"pattern":"^(?!x)"}}}}]}"#;
    let tools = tools.replace('\n', "");
    let fixture = start(listing(
        &tools,
        r#"answer '{"content":[{"type":"text","text":"done"}]}'"#,
    ));
    assert_eq!(fixture.tools().await, ["do", "email"]);
    assert_eq!(call(&fixture).await.result["message"], "done");
    fixture.shut_down().await;
}

#[tokio::test]
async fn repeated_cursor_ends_the_list() {
    let tools = r#"{"tools":[{"name":"do","inputSchema":{}}],"nextCursor":"again"}"#;
    let count = r#"answer "{\"content\":[{\"type\":\"text\",\"text\":\"$lists\"}]}""#;
    let fixture = start(listing(tools, count));
    assert_eq!(call(&fixture).await.result["message"], "2");
    assert_eq!(fixture.tools().await, ["do"]);
    fixture.shut_down().await;
}

#[tokio::test]
async fn response_that_is_no_tool_result_keeps_the_connection() {
    let calls =
        r#"calls=$((calls + 1)); case $calls in 1) answer '{"odd":1}' ;; *) answer '{"content":[]}' ;; esac"#;
    let fixture = start(script(calls));
    let error = call(&fixture).await.result["error"].to_string();
    assert!(error.contains("OUTCOME_UNKNOWN"), "{error}");
    // A new process would answer its first call like the first one.
    for _ in 0..20 {
        assert_eq!(call(&fixture).await.result["success"], json!(true));
    }
    fixture.shut_down().await;
}
