//! Reads the server-sent events of a run.

use std::collections::VecDeque;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use crate::eventually::TIMEOUT;

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    /// The status of the response.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    response: Response,
    text: String,
    ready: VecDeque<Value>,
    /// The number of comments so far.
    comments: usize,
}

impl Events {
    /// Sends a request and reads the headers of the response.
    ///
    /// # Panics
    /// If there is no response in time.
    #[expect(clippy::unwrap_used, reason = "a test without its answer can only fail")]
    pub async fn open(request: RequestBuilder) -> Self {
        let response = timeout(TIMEOUT, request.send()).await.unwrap().unwrap();
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            response,
            text: String::new(),
            ready: VecDeque::new(),
            comments: 0,
        }
    }

    /// The next event; `None` when the stream ends or its connection breaks.
    ///
    /// # Panics
    /// If none arrives in time, or its fields contradict each other.
    pub async fn next(&mut self) -> Option<Value> {
        while self.ready.is_empty() {
            self.read().await?;
        }
        self.ready.pop_front()
    }

    /// Waits for a comment.
    ///
    /// # Panics
    /// If the stream ends before.
    #[expect(clippy::unwrap_used, reason = "a test without its comment can only fail")]
    pub async fn comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            self.read().await.unwrap();
        }
    }

    #[expect(clippy::unwrap_used, reason = "a test without its events can only fail")]
    async fn read(&mut self) -> Option<()> {
        let chunk = timeout(TIMEOUT, self.response.chunk()).await.unwrap().ok()??;
        self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.text = rest;
            self.take(&block);
        }
        Some(())
    }

    /// All events up to and including the first of this type.
    ///
    /// # Panics
    /// If the stream ends before.
    #[expect(clippy::unwrap_used, reason = "a test without its events can only fail")]
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            assert!(event.is_some(), "no {kind} after {events:#?}");
            let event = event.unwrap();
            let found = kind_of(&event) == kind;
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// All events up to the end of the stream.
    pub async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    #[expect(clippy::unwrap_used, reason = "a test without its events can only fail")]
    fn take(&mut self, block: &str) {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim_start)
        };
        let Some(data) = field("data") else {
            self.comments += 1;
            return;
        };
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(field("event"), Some(kind_of(&event)));
        assert_eq!(field("id").unwrap(), seq_of(&event).to_string());
        self.ready.push_back(event);
    }
}

/// An event's type.
pub fn kind_of(event: &Value) -> &str {
    event.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// An event's number.
pub fn seq_of(event: &Value) -> i64 {
    event.get("seq").and_then(Value::as_i64).unwrap_or_default()
}

/// The types of events in order. Consecutive deltas count as one, and as none after a reset, because their number depends
/// on timing.
pub fn kinds_of(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = events.iter().map(kind_of).collect();
    kinds.dedup_by(|one, before| *one == "message.delta" && before.starts_with("message."));
    kinds
}

/// The text that a subscriber has after these events.
///
/// # Panics
/// If their numbers do not increase.
pub fn text_of(events: &[Value]) -> String {
    let numbers: Vec<_> = events.iter().map(seq_of).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let mut so_far = String::new();
    for event in events {
        let text = event.pointer("/data/text").and_then(Value::as_str);
        match (kind_of(event), text) {
            ("message.delta", Some(text)) => so_far.push_str(text),
            ("message.reset", Some(text)) => text.clone_into(&mut so_far),
            _ => {}
        }
    }
    so_far
}
