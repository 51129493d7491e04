use async_openai::types::chat::CreateChatCompletionRequest;
use clap::Parser;
use errand_agent::ToolSpec;
use serde_json::json;

use super::*;
use crate::model::{parameters::AcceptedParameters, tools::OfferedTools};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    model: ModelSettings,
}

const SOURCE: &str = "host/m";

fn settings(model: &str) -> ModelSettings {
    Program::parse_from(["program", "--openai-model", model]).model
}

fn parameters(settings: &ModelSettings, url: &str) -> Parameters {
    AcceptedParameters::new(settings, &url.parse().unwrap()).get()
}

fn sent(settings: &ModelSettings, parameters: &Parameters, messages: &[Message]) -> Value {
    let request = Request::new(settings, SOURCE, parameters, messages, None);
    serde_json::from_slice(&request.json().unwrap()).unwrap()
}

fn call(id: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: "add".to_owned(),
        arguments: "{}".to_owned(),
    }
}

/// Two calls with their results.
fn step(ids: [&str; 2], provider_data: Option<Value>) -> Vec<Message> {
    let result = |id: &str| Message::Tool {
        tool_call_id: id.to_owned(),
        content: "{}".to_owned(),
    };
    vec![
        Message::Assistant {
            content: String::new(),
            tool_calls: ids.map(call).to_vec(),
            provider_data: provider_data.map(Box::new),
        },
        result(ids[0]),
        result(ids[1]),
    ]
}

/// async-openai's types were written from OpenAI's specification and know nothing about this module.
#[test]
fn request_has_the_specified_form() {
    for model in ["gpt-4.1", "gpt-5-mini"] {
        let settings = settings(model);
        let parameters = parameters(&settings, "https://api.openai.com/v1");
        let mut messages = vec![Message::User {
            content: "Buy milk".to_owned(),
        }];
        messages.extend(step(["a", "b"], None));
        let tool = ToolSpec {
            name: "add".to_owned(),
            description: "Adds a task.".to_owned(),
            parameters: json!({"type": "object", "properties": {}}),
        };
        let offered = OfferedTools::new(vec![tool]).unwrap();
        let tools = offered.json(&[]).unwrap();
        let request = Request::new(&settings, SOURCE, &parameters, &messages, tools.as_deref());
        let json: Value = serde_json::from_slice(&request.json().unwrap()).unwrap();
        let read: CreateChatCompletionRequest = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(
            (read.messages.len(), read.tools.map(|tools| tools.len())),
            (4, Some(1))
        );
        let has_new_limit = model.starts_with("gpt-5");
        assert_eq!(read.max_completion_tokens.is_some(), has_new_limit);
        assert_eq!(read.temperature.is_some(), !has_new_limit);
        assert!(json["stream_options"]["include_usage"].as_bool().unwrap());
    }
}

#[test]
fn agents_members_replace_the_usual_ones() {
    let mut settings = settings("m");
    let own =
        json!({"temperature": 0, "max_completion_tokens": 5, "stream_options": {}, "top_p": 0.5, "omit": 1});
    settings.request = std::sync::Arc::new(own.as_object().cloned().unwrap());
    let mut parameters = parameters(&settings, "http://host/v1");
    parameters.omitted.push("omit".to_owned());
    let sent = sent(&settings, &parameters, &[]);
    let expected = json!({
        "model": "m", "messages": [], "stream": true,
        "temperature": 0, "max_completion_tokens": 5, "stream_options": {}, "top_p": 0.5,
    });
    assert_eq!(sent, expected);
}

#[test]
fn ids_are_short_where_the_provider_requires_it() {
    let settings = settings("mistral-small");
    let parameters = parameters(&settings, "https://api.mistral.ai/v1");
    let sent = sent(&settings, &parameters, &step(["call_a", "abcDEF123"], None));
    let ids: Vec<&str> = sent["messages"][0]["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids[1], "abcDEF123");
    assert!(
        ids[0].len() == 9 && ids[0].bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{ids:?}"
    );
    assert_eq!(sent["messages"][1]["tool_call_id"], ids[0]);
    assert_eq!(sent["messages"][2]["tool_call_id"], ids[1]);
}

#[test]
fn long_ids_are_sent_as_they_arrived() {
    let settings = settings("m");
    let parameters = parameters(&settings, "http://host/v1");
    let long = "x".repeat(1000);
    let data = json!({"source": SOURCE, "message": {}, "calls": [{"id": long}, null]});
    let sent = sent(&settings, &parameters, &step(["call_0_0", "b"], Some(data)));
    assert_eq!(sent["messages"][0]["tool_calls"][0]["id"], long);
    assert_eq!(sent["messages"][1]["tool_call_id"], long);
    assert_eq!(sent["messages"][2]["tool_call_id"], "b");
}

#[test]
fn missing_reasoning_and_signatures_are_replaced_where_required() {
    let settings = settings("gemini-3-pro");
    let url = "https://generativelanguage.googleapis.com/v1beta/openai";
    let mut parameters = parameters(&settings, url);
    parameters.empty_reasoning = true;
    let sent = sent(&settings, &parameters, &step(["a", "b"], None));
    let message = &sent["messages"][0];
    assert_eq!(message["reasoning_content"], "");
    assert_eq!(message["tool_calls"][0]["extra_content"], placeholder_signature());
    assert_eq!(message["tool_calls"][1].get("extra_content"), None);
}

#[test]
fn reasoning_effort_is_none_where_tools_require_it() {
    let mut settings = settings("m");
    settings.request = std::sync::Arc::new(json!({"reasoning_effort": "high"}).as_object().cloned().unwrap());
    let accepted = AcceptedParameters::new(&settings, &"http://host/v1".parse().unwrap());
    let demand = "Function tools with reasoning_effort are not supported; set reasoning_effort to 'none'.";
    assert!(accepted.learn(&accepted.get(), demand));
    assert_eq!(sent(&settings, &accepted.get(), &[])["reasoning_effort"], "none");
}

#[test]
fn content_is_null_or_empty_beside_tool_calls() {
    let settings = settings("m");
    let mut parameters = parameters(&settings, "http://host/v1");
    let messages = step(["a", "b"], None);
    assert_eq!(
        sent(&settings, &parameters, &messages)["messages"][0]["content"],
        Value::Null
    );
    parameters.empty_content = true;
    assert_eq!(
        sent(&settings, &parameters, &messages)["messages"][0]["content"],
        ""
    );
}

#[test]
fn recorded_data_is_not_replaced() {
    let settings = settings("gemini-3-pro");
    let mut parameters = parameters(
        &settings,
        "https://generativelanguage.googleapis.com/v1beta/openai",
    );
    parameters.empty_reasoning = true;
    let data = json!({
        "source": SOURCE,
        "message": {"reasoning_content": "Hm."},
        "calls": [{"extra_content": {"google": {"thought_signature": "s"}}}, null],
    });
    let sent = sent(&settings, &parameters, &step(["a", "b"], Some(data)));
    let message = &sent["messages"][0];
    assert_eq!(message["reasoning_content"], "Hm.");
    assert_eq!(
        message["tool_calls"][0]["extra_content"]["google"]["thought_signature"],
        "s"
    );
}
