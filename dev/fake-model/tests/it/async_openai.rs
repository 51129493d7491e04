//! The answers in the types of async-openai, which were written from OpenAI's specification and know nothing about this server.

use async_openai::{
    error::WrappedError,
    types::chat::{CreateChatCompletionResponse, CreateChatCompletionStreamResponse, FinishReason},
};
use errand_fake_model::Behaviour;

use crate::client::{ask, chunks, reply, server_with, streamed};

fn behaviours() -> [Behaviour; 4] {
    [
        Behaviour::reply("Hello there."),
        Behaviour::tool_call("add_task", r#"{"title":"milk"}"#),
        Behaviour::ToolCalls(vec![("list_tasks".to_owned(), "{}".to_owned()); 3]),
        Behaviour::Refusal("That I can't do.".to_owned()),
    ]
}

#[tokio::test]
async fn complete_answers_have_the_specified_form() {
    for behaviour in behaviours() {
        let what = format!("{behaviour:?}");
        let server = server_with(behaviour).await;
        let answer = reply(&server, &ask("go")).await;
        let read: CreateChatCompletionResponse = serde_json::from_value(answer).expect(&what);
        assert_eq!(read.choices.len(), 1, "{what}");
        assert!(read.usage.is_some(), "{what}");
    }
}

#[tokio::test]
async fn chunks_have_the_specified_form() {
    for behaviour in behaviours() {
        let what = format!("{behaviour:?}");
        let server = server_with(behaviour).await;
        let mut finish = None;
        for chunk in chunks(&server, &streamed(ask("go"))).await {
            let read: CreateChatCompletionStreamResponse = serde_json::from_value(chunk).expect(&what);
            finish = finish.or(read.choices.first().and_then(|choice| choice.finish_reason));
        }
        assert!(
            matches!(finish, Some(FinishReason::Stop | FinishReason::ToolCalls)),
            "{what}: {finish:?}"
        );
    }
}

#[tokio::test]
async fn errors_have_the_specified_form() {
    for status in [400, 401, 429, 500, 503] {
        let server = server_with(Behaviour::status(status)).await;
        let error = reply(&server, &ask("go")).await;
        let read: WrappedError = serde_json::from_value(error).expect("an error");
        assert!(!read.error.message.is_empty(), "{status}");
    }
}
