//! One HTTP exchange with the model's server, without tries of its own: answers other than a stream become faults.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use async_openai::{error::OpenAIError, middleware::HttpRequestFactory};
use axum::{body::Bytes, http};
use futures::{Stream, StreamExt, future::BoxFuture};
use reqwest::{
    Body, Request, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;
use tower::Service;

use super::fault::{ModelFault, line};

/// Bytes of an error's body that are read.
const ERROR_BODY_MAX: usize = 16 * 1024;
/// Bytes of a stream that are read: sixteen times what an answer may hold, because each word comes in an event of its
/// own.
const STREAM_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one line of it: twice what an answer may hold. A line is searched for its end each time that more of it comes.
const LINE_MAX: usize = 2 * 1024 * 1024;

/// What no stream of text holds. It stands in for what is beyond the bounds: of a body that breaks off async-openai
/// does not tell why, and one that broke by itself is worth another try.
const NOT_TEXT: &[u8] = &[0xff];

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
            let request = once(factory.build().await?);
            // It has the request's JSON, and the model may think for minutes.
            drop(factory);
            let response = http.execute(request).await?;
            if response.status().is_success() && is_event_stream(&response) {
                return Ok(bounded(response));
            }
            Err(OpenAIError::Boxed(Box::new(fault(response).await)))
        })
    }
}

/// The same request with a body that can't be sent twice: reqwest would keep a copy for that until the answer comes. A kept
/// connection that turns out to be closed still gives an unsent request back to be sent on another.
fn once(mut request: Request) -> Request {
    if let Some(body) = request.body_mut().take() {
        *request.body_mut() = Some(Body::wrap(body));
    }
    request
}

/// The same response with a bounded body.
fn bounded(response: Response) -> Response {
    let (head, body) = http::Response::<Body>::from(response).into_parts();
    let body = within_bounds(axum::body::Body::new(body).into_data_stream());
    http::Response::from_parts(head, Body::wrap_stream(body)).into()
}

/// The same bytes up to [`STREAM_MAX`] or the first line beyond [`LINE_MAX`], then [`NOT_TEXT`] and the end.
fn within_bounds<E>(bytes: impl Stream<Item = Result<Bytes, E>>) -> impl Stream<Item = Result<Bytes, E>> {
    // What has come so far, in all and of the last line; none after the end.
    bytes.scan(Some((0_usize, 0_usize)), |so_far, bytes| {
        std::future::ready(so_far.map(|(all, line)| {
            let bytes = bytes?;
            let line = match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => bytes.len() - end,
                None => line + bytes.len(),
            };
            let all = all + bytes.len();
            if all > STREAM_MAX || line > LINE_MAX {
                *so_far = None;
                return Ok(Bytes::from_static(NOT_TEXT));
            }
            *so_far = Some((all, line));
            Ok(bytes)
        }))
    })
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{FutureExt, stream};

    use super::*;

    /// How many bytes of so many equal chunks come through, and whether that is all.
    fn through(chunk: &'static [u8], chunks: usize) -> (usize, bool) {
        let chunks = stream::repeat(Ok::<_, Infallible>(Bytes::from_static(chunk))).take(chunks);
        let read: Vec<_> = within_bounds(chunks).collect().now_or_never().unwrap();
        let cut = read
            .last()
            .is_some_and(|last| *last == Ok(Bytes::from_static(NOT_TEXT)));
        let bytes = read.iter().flatten().map(Bytes::len).sum::<usize>();
        (bytes - usize::from(cut), !cut)
    }

    #[test]
    fn a_stream_is_cut_where_it_or_one_of_its_lines_is_too_large() {
        const WORD: &[u8] = &[b'x'; 1024];
        static LINES: [u8; 1024] = {
            let mut lines = [b'x'; 1024];
            lines[500] = b'\n';
            lines
        };
        assert_eq!(through(&LINES, 16 * 1024), (STREAM_MAX, true));
        assert_eq!(through(&LINES, 16 * 1024 + 9), (STREAM_MAX, false));
        assert_eq!(through(WORD, 2 * 1024), (LINE_MAX, true));
        assert_eq!(through(WORD, 2 * 1024 + 9), (LINE_MAX, false));
    }
}
