//! Servers as children: a few lines of shell that speak the protocol as far as it is needed, and misbehave.

use std::time::Duration;

use errand_mcp_client::{McpMetrics, Outcome, Servers};
use errand_shared::{
    domain::agents::{Consent, McpServer, McpTransport},
    service::{lifecycle::Lifecycle, metrics::Metrics},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// Answers each request by its method; `call` is what it does when a tool is called, with the request's id in `$id`.
fn script(call: &str) -> String {
    let begin = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
    *'"initialize"'*) answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"tools/list"'*) answer '{"tools":[{"name":"do","inputSchema":{"type":"object"}}]}' ;;
    *'"tools/call"'*) "#;
    let end = " ;;\n    esac\ndone\n";
    format!("{begin}{call}{end}")
}

struct Stage {
    servers: Servers,
    lifecycle: Lifecycle,
    metrics: Metrics,
}

impl Stage {
    fn new(script: String) -> Self {
        let config = McpServer {
            name: "sh".to_owned(),
            transport: McpTransport::Stdio {
                command: "sh".to_owned(),
                args: vec!["-c".to_owned(), script],
                env: Vec::new(),
            },
            tools: None,
            idempotent: Vec::new(),
            approve: Consent::Never,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            max_concurrent_calls: 2,
            max_result_bytes: 2048,
            max_tools: 8,
            max_schema_bytes: 2048,
        };
        let lifecycle = Lifecycle::new();
        let mut metrics = Metrics::new("test", "0");
        let mcp = McpMetrics::new(&mut metrics);
        let servers = Servers::start(&[config], &lifecycle, &mcp).unwrap();
        Self {
            servers,
            lifecycle,
            metrics,
        }
    }

    async fn call(&self) -> Outcome {
        let server = self.servers.of_tool("sh__do").unwrap();
        match server.prepare("sh__do", &Map::new()).await {
            Ok(call) => call.make("key", Instant::now() + Duration::from_secs(30)).await,
            Err(outcome) => outcome,
        }
    }

    async fn end(self) {
        self.lifecycle.stop();
        assert!(
            self.lifecycle.drained(Duration::from_secs(10)).await,
            "something goes on"
        );
    }
}

#[tokio::test]
async fn a_child_is_started_when_it_is_wanted_and_its_tools_are_called() {
    let stage = Stage::new(script(r#"answer '{"content":[{"type":"text","text":"done"}]}'"#));
    let outcome = stage.call().await;
    assert_eq!(outcome.result, json!({"success": true, "message": "done"}));
    let text = stage.metrics.text().unwrap();
    for line in [
        "errand_mcp_calls_total{server=\"sh\",outcome=\"succeeded\"} 1\n",
        "errand_mcp_connections_total{server=\"sh\",outcome=\"opened\"} 1\n",
        "errand_mcp_connected{server=\"sh\"} 1\n",
        "errand_mcp_tools{server=\"sh\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_child_that_dies_in_mid_call_leaves_an_honest_answer_and_is_started_again() {
    let stage = Stage::new(script("exit 1"));
    for _ in 0..2 {
        let outcome = stage.call().await;
        let error = outcome.result["error"].as_str().unwrap();
        assert!(error.starts_with("OUTCOME_UNKNOWN: "), "{error}");
        let server = stage.servers.of_tool("sh__do").unwrap();
        // It comes back by itself; until then there is nothing on offer.
        errand_testkit::eventually("it is back", || async { server.listing().await.is_some() }).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_program_that_is_none_is_a_tool_that_is_not_there() {
    for script in [
        "exit 3".to_owned(),
        "echo nonsense; cat >/dev/null & exec sleep 0".to_owned(),
    ] {
        let stage = Stage::new(script);
        let outcome = stage.call().await;
        let error = outcome.result["error"].as_str().unwrap();
        assert!(error.starts_with("TOOL_UNAVAILABLE: "), "{error}");
        assert_eq!(outcome.result["success"], Value::Bool(false));
        stage.end().await;
    }
}

#[tokio::test]
async fn what_is_said_on_standard_error_or_out_of_turn_does_no_harm() {
    let call = r#"yes 'a line' | head -n 20000 >&2; echo nonsense; printf '{"jsonrpc":"2.0","id":777,"result":{}}\n'
        answer '{"content":[{"type":"text","text":"still here"}]}'"#;
    let stage = Stage::new(script(call));
    assert_eq!(stage.call().await.result["message"], "still here");
    stage.end().await;
}
