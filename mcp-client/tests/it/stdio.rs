//! Servers as child processes: shell scripts that implement the protocol as far as the tests need it, and misbehave.

use std::time::Duration;

use errand_mcp_client::{McpMetrics, Outcome, Servers};
use errand_shared::{
    domain::agents::{ApprovalPolicy, McpServer, McpTransport},
    service::{lifecycle::Lifecycle, metrics::Metrics},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// A server that answers each request by its method. `call` handles tool calls, with the request's ID in `$id`.
fn script(call: &str) -> String {
    let start = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
while IFS= read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case "$line" in
    *'"initialize"'*) answer '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"tools/list"'*) answer '{"tools":[{"name":"do","inputSchema":{"type":"object"}}]}' ;;
    *'"tools/call"'*) "#;
    let end = " ;;\n    esac\ndone\n";
    format!("{start}{call}{end}")
}

struct Fixture {
    servers: Servers,
    lifecycle: Lifecycle,
    metrics: Metrics,
}

impl Fixture {
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
            approve: ApprovalPolicy::Never,
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
        let server = self.servers.for_tool("sh__do").unwrap();
        match server.prepare("sh__do", &Map::new()).await {
            Ok(call) => call.make("key", Instant::now() + Duration::from_secs(30)).await,
            Err(outcome) => outcome,
        }
    }

    async fn shut_down(self) {
        self.lifecycle.stop();
        assert!(
            self.lifecycle.drained(Duration::from_secs(10)).await,
            "tasks are still running"
        );
    }
}

#[tokio::test]
async fn starts_child_on_first_use_and_calls_its_tool() {
    let fixture = Fixture::new(script(r#"answer '{"content":[{"type":"text","text":"done"}]}'"#));
    let outcome = fixture.call().await;
    assert_eq!(outcome.result, json!({"success": true, "message": "done"}));
    let text = fixture.metrics.text().unwrap();
    for line in [
        "errand_mcp_calls_total{server=\"sh\",outcome=\"succeeded\"} 1\n",
        "errand_mcp_connections_total{server=\"sh\",outcome=\"opened\"} 1\n",
        "errand_mcp_connected{server=\"sh\"} 1\n",
        "errand_mcp_tools{server=\"sh\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    fixture.shut_down().await;
}

#[tokio::test]
async fn crash_during_call_has_unknown_outcome_and_restarts_child() {
    let fixture = Fixture::new(script("exit 1"));
    for _ in 0..2 {
        let outcome = fixture.call().await;
        let error = outcome.result["error"].as_str().unwrap();
        assert!(error.starts_with("OUTCOME_UNKNOWN: "), "{error}");
        let server = fixture.servers.for_tool("sh__do").unwrap();
        // The child restarts. Until then, no tools are available.
        errand_testkit::eventually("the server is connected again", || async {
            server.listing().await.is_some()
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
        let fixture = Fixture::new(script);
        let outcome = fixture.call().await;
        let error = outcome.result["error"].as_str().unwrap();
        assert!(error.starts_with("TOOL_UNAVAILABLE: "), "{error}");
        assert_eq!(outcome.result["success"], Value::Bool(false));
        fixture.shut_down().await;
    }
}

#[tokio::test]
async fn unexpected_output_does_no_harm() {
    let call = r#"yes 'a line' | head -n 20000 >&2; echo nonsense; printf '{"jsonrpc":"2.0","id":777,"result":{}}\n'
        answer '{"content":[{"type":"text","text":"still here"}]}'"#;
    let fixture = Fixture::new(script(call));
    assert_eq!(fixture.call().await.result["message"], "still here");
    fixture.shut_down().await;
}
