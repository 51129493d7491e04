//! Traces: one trace from the POST through the queue to every model and tool call, exported by both programs.

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use errand_shared::service::traces::{TraceSettings, Traces};
use errand_shared::{Uuid, service::telemetry};
use errand_testkit::{TestApp, eventually};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;
use reqwest::Method;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::programs::Server;

/// The exported spans and their programs.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector that stores the spans.
struct Collector {
    url: String,
    spans: Spans,
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Spans::default();
        let router = Router::new()
            .route("/v1/traces", post(collect))
            .with_state(Arc::clone(&spans));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            spans,
            _serving: serving,
        }
    }

    /// The spans of a trace: program, name, id, parent.
    fn trace(&self, trace_id: &str) -> Vec<(String, String, String, String)> {
        let spans = self.spans.lock().unwrap();
        let spans = spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace_id);
        spans
            .map(|(program, span)| {
                let (id, parent) = (hex(&span.span_id), hex(&span.parent_span_id));
                (program.clone(), span.name.clone(), id, parent)
            })
            .collect()
    }
}

async fn collect(State(spans): State<Spans>, body: Bytes) {
    let sent = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in sent.resource_spans {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        let program = attributes
            .iter()
            .find(|attribute| attribute.key == "service.name");
        let program = program.and_then(|program| program.value.clone()?.value).unwrap();
        let Value::StringValue(program) = program else {
            panic!("{program:?} is no name")
        };
        let mut known = spans.lock().unwrap();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            known.push((program.clone(), span));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_connects_the_post_with_every_model_and_tool_call() {
    let collector = Collector::start().await;
    // The worker is in this process, the API is not.
    let settings = TraceSettings {
        otel_exporter_otlp_endpoint: Some(collector.url.clone()),
    };
    let (traces, extra) = Traces::start(&settings, "errand-worker", "0").unwrap();
    let log = telemetry::LogSettings {
        log_format: None,
        log_filter: "off".parse().unwrap(),
    };
    telemetry::init(log, extra);
    let app = TestApp::start().await;
    let endpoint = format!("--otel-exporter-otlp-endpoint={}", collector.url);
    let server = Server::start_with(&app, "errand_api=debug", &[endpoint]).await;
    let user = app.user("Ada").await.at(server.url());

    let trace_id = Uuid::new_v4().simple().to_string();
    let caller = "00f067aa0ba902b7";
    let reply = user
        .request(Method::POST, "/chat")
        .header("traceparent", format!("00-{trace_id}-{caller}-01"))
        .header("x-request-id", "find-me-again")
        .json(&json!({"message": "Add a task to buy milk"}))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
    let log = server.stop().await;
    traces.end().await;

    let expected: BTreeSet<_> = [
        ("errand-api", "POST /api/{user_id}/chat", "caller"),
        ("errand-api", "post", "POST /api/{user_id}/chat"),
        ("errand-api", "wait", "POST /api/{user_id}/chat"),
        ("errand-worker", "run", "POST /api/{user_id}/chat"),
        ("errand-worker", "model call", "run"),
        ("errand-worker", "tools", "run"),
        ("errand-worker", "tool add_task", "tools"),
        ("errand-worker", "finish", "run"),
    ]
    .map(|(program, name, parent)| (program.to_owned(), name.to_owned(), parent.to_owned()))
    .into();
    eventually("all spans have arrived", || async {
        collector.trace(&trace_id).len() >= 9
    })
    .await;
    let trace = collector.trace(&trace_id);
    let name_of = |id: &str| match trace.iter().find(|span| span.2 == id) {
        Some(span) => span.1.clone(),
        None if id == caller => "caller".to_owned(),
        None => format!("unknown {id}"),
    };
    let seen: BTreeSet<_> = trace
        .iter()
        .map(|(program, name, _, parent)| (program.clone(), name.clone(), name_of(parent)))
        .collect();
    assert_eq!(seen, expected);
    let model_calls = trace.iter().filter(|span| span.1 == "model call").count();
    assert_eq!(model_calls, 2);

    // The request id is also in the log and in the database.
    let stored = log.lines().find(|line| line.contains("message stored")).unwrap();
    assert!(stored.contains("find-me-again"), "{stored}");
    let named = "SELECT count(*) FROM runs WHERE request_id = 'find-me-again'";
    assert_eq!(app.database.count(named).await, 1);
}
