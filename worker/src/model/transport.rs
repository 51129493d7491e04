//! One HTTP exchange with the model's server, without tries of its own: answers other than a stream become faults.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use async_openai::{error::OpenAIError, middleware::HttpRequestFactory};
use futures::{StreamExt, future::BoxFuture};
use reqwest::{
    Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;
use tower::Service;

use super::fault::{ModelFault, line};

/// Bytes of an error's body that are read.
const ERROR_BODY_MAX: usize = 16 * 1024;

/// The transport that async-openai sends its requests through.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
}

impl Transport {
    pub(super) const fn new(http: reqwest::Client) -> Self {
        Self { http }
    }
}

impl Service<HttpRequestFactory> for Transport {
    type Response = Response;
    type Error = OpenAIError;
    type Future = BoxFuture<'static, Result<Response, OpenAIError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let http = self.http.clone();
        Box::pin(async move {
            let response = http.execute(factory.build().await?).await?;
            if response.status().is_success() && is_event_stream(&response) {
                return Ok(response);
            }
            Err(OpenAIError::Boxed(Box::new(fault(response).await)))
        })
    }
}

fn is_event_stream(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("text/event-stream")
        })
}

/// The error object that servers send, as far as it matters here.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: String,
    code: Option<serde_json::Value>,
}

async fn fault(response: Response) -> ModelFault {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        body.extend_from_slice(&chunk);
        if body.len() >= ERROR_BODY_MAX {
            break;
        }
    }
    if status.is_success() {
        return ModelFault::Malformed("the answer is not a stream of events".to_owned());
    }
    let (message, code) = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => (body.error.message, body.error.code),
        Err(_) => (String::from_utf8_lossy(&body).into_owned(), None),
    };
    let quota = code.is_some_and(|code| code == "insufficient_quota");
    ModelFault::Status {
        code: status.as_u16(),
        retry_after,
        quota,
        message: line(&message),
    }
}
