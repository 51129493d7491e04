//! `errand-worker check-model` against model servers that work in different ways. It needs neither Postgres nor Redis.

use std::{process::Output, time::Duration};

use errand_fake_model::{Behaviour, ChatRequest, Options, Script, Server};
use errand_testkit::AgentsFile;
use serde_json::json;
use tokio::{process::Command, time::timeout};

const KEY: &str = "sk-s3cret";

async fn server(script: Script) -> Server {
    let options = Options {
        script,
        ..Options::default()
    };
    Server::start(options).await.unwrap()
}

/// The exit code, standard output and standard error of a check.
async fn check(url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_errand-worker"))
        .args(["check-model", "--openai-base-url", url, "--openai-model", "small"])
        .args(arguments)
        .env_clear()
        .env("OPENAI_API_KEY", KEY)
        .kill_on_drop(true)
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(Duration::from_secs(20), ended).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (table, error) = (text(stdout), text(stderr));
    assert!(!format!("{table}{error}").contains(KEY), "{table}{error}");
    (status.code(), table, error)
}

fn call(title: &str) -> (String, String) {
    ("add_task".to_owned(), json!({ "title": title }).to_string())
}

fn two_calls() -> Behaviour {
    Behaviour::ToolCalls(vec![call("milk"), call("plants")])
}

/// The verdict of a row and its note.
fn row<'a>(table: &'a str, label: &str) -> &'a str {
    let row = table.lines().find_map(|line| line.strip_prefix(label));
    row.unwrap_or_else(|| panic!("no row {label} in {table}")).trim()
}

fn rejection(code: u16, message: &str) -> Behaviour {
    Behaviour::Status {
        code,
        retry_after: None,
        body: Some(json!({"error": {"message": message}}).to_string()),
    }
}

#[tokio::test]
async fn working_server_passes() {
    let script = Script::new().then([two_calls(), Behaviour::reply("I have added milk and plants.")]);
    let server = server(script).await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!((code, &*error), (Some(0), ""), "{table}");
    assert_eq!(row(&table, "server"), server.base_url());
    assert_eq!(row(&table, "answers"), "yes  from errand-demo");
    assert!(
        row(&table, "streaming").starts_with("yes  6 pieces of text, the first after "),
        "{table}"
    );
    assert_eq!(row(&table, "tool calls"), "yes");
    assert_eq!(row(&table, "parallel calls"), "yes  2 calls in one answer");
    assert_eq!(
        row(&table, "tool results"),
        "yes  \"I have added milk and plants.\""
    );
    assert!(row(&table, "token usage").starts_with("yes"), "{table}");
    assert_eq!(row(&table, "all parameters"), "yes");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let (question, results) = (requests[0].json(), requests[1].json());
    assert_eq!(question["stream"], true);
    assert_eq!(question["tools"].as_array().unwrap().len(), 5);
    assert_eq!(results["messages"].as_array().unwrap().len(), 5, "{results}");
    server.shutdown().await;
}

#[tokio::test]
async fn wrong_key_is_reported() {
    let server = server(Script::always(rejection(
        401,
        &format!("Incorrect API key: {KEY}."),
    )))
    .await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        "error: OPENAI_API_KEY: the server rejected the key: status 401 (authentication): Incorrect API key: ***.\n"
    );
    assert_eq!(row(&table, "answers"), "no");
    assert_eq!(row(&table, "tool calls"), "-");
    assert_eq!(server.requests().len(), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn unknown_model_is_reported() {
    let server = server(Script::always(Behaviour::status(404))).await;
    let (code, _, error) = check(&server.base_url(), &[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        "error: OPENAI_MODEL (small): the server does not know the model: status 404 (unknown_model): \
         The model does not exist or you do not have access to it.\n"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn wrong_path_is_reported() {
    let server = server(Script::new()).await;
    let url = server.base_url().replace("/v1", "/v2?key=s3cret");
    let (code, table, error) = check(&url, &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        error.starts_with(
            "error: OPENAI_BASE_URL: there is no Chat Completions API below this URL: status 404"
        ),
        "{error}"
    );
    assert!(!format!("{table}{error}").contains("s3cret"), "{table}{error}");
    server.shutdown().await;
}

#[tokio::test]
async fn server_without_tools_is_reported() {
    let has_tools = |request: &ChatRequest| request.tools.is_some();
    let refusal = rejection(400, "small does not support tools");
    let server = server(Script::new().when_fn(has_tools, [refusal]).repeated()).await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        error,
        "error: OPENAI_MODEL (small): the server answers, but not if tools are offered; use a model that supports tools, or enable \
         them in the server: status 400 (bad_request): small does not support tools\n"
    );
    assert_eq!(row(&table, "answers"), "yes  from errand-demo");
    assert_eq!(row(&table, "tool calls"), "no");
    assert_eq!(row(&table, "tool results"), "-");
    assert_eq!(server.requests().len(), 2);
    server.shutdown().await;
}

#[tokio::test]
async fn model_that_calls_no_tool_is_reported() {
    let server = server(Script::always(Behaviour::reply("I have added all of them."))).await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        error.starts_with("error: OPENAI_MODEL (small): the model called no tool"),
        "{error}"
    );
    assert_eq!(row(&table, "tool calls"), "no");
    assert_eq!(server.requests().len(), 2);
    server.shutdown().await;
}

#[tokio::test]
async fn model_that_calls_tools_without_end_is_reported() {
    let server = server(Script::always(two_calls())).await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("no reply to the results of the tools"), "{error}");
    assert_eq!(row(&table, "tool results"), "no");
    assert_eq!(server.requests().len(), 4);
    server.shutdown().await;
}

#[tokio::test]
async fn server_that_does_not_stream_passes() {
    let document = |message: serde_json::Value| {
        Behaviour::raw(json!({"model": "m", "choices": [{"index": 0, "message": message}]}).to_string())
    };
    let function = json!({"name": "add_task", "arguments": "{\"title\": \"milk\"}"});
    let server = server(Script::new().then([
        document(
            json!({"content": null, "tool_calls": [{"id": "a", "type": "function", "function": function}]}),
        ),
        document(json!({"content": "I have added milk."})),
    ]))
    .await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!((code, &*error), (Some(0), ""), "{table}");
    assert_eq!(row(&table, "streaming"), "no   the text arrived in one piece");
    assert_eq!(row(&table, "parallel calls"), "no   one call in each answer");
    assert_eq!(
        row(&table, "token usage"),
        "no   not reported; runs record estimates"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn missing_server_is_reported() {
    let (code, _, error) = check("http://127.0.0.1:1/v1", &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        error.starts_with("error: OPENAI_BASE_URL: the server could not be reached: connection: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[tokio::test]
async fn rejected_parameters_are_listed() {
    let temperature = rejection(
        400,
        "Unsupported parameter: 'temperature' is not supported with this model.",
    );
    let script = Script::new().then([temperature, two_calls(), Behaviour::reply("Done.")]);
    let server = server(script).await;
    let (code, table, error) = check(&server.base_url(), &[]).await;
    assert_eq!((code, &*error), (Some(0), ""), "{table}");
    assert_eq!(
        row(&table, "all parameters"),
        "no   left out or replaced: temperature"
    );
    assert_eq!(server.requests().len(), 3);
    server.shutdown().await;
}

#[tokio::test]
async fn agent_of_the_file_is_checked() {
    let server = server(Script::always(Behaviour::status(401))).await;
    let file = AgentsFile::new(&format!(
        "[agents.own]\nbase_url = \"{}\"\nmodel = \"other\"\n",
        server.base_url()
    ));
    let file = file.setting();
    let (code, table, error) = check("http://127.0.0.1:1/v1", &[&file, "--agent", "own"]).await;
    assert_eq!(code, Some(1));
    assert!(
        error.starts_with("error: api_key of the agent own: the server requires a key: "),
        "{error}"
    );
    assert_eq!(row(&table, "model"), "other");
    let (code, table, error) = check(&server.base_url(), &[&file, "--agent", "lost"]).await;
    assert_eq!((code, &*table), (Some(2), ""));
    assert_eq!(
        error,
        "error: --agent: no agent has this name; there are own, todo\n"
    );
    server.shutdown().await;
}
