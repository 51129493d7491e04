//! Reads a run's events like a browser: reconnects after every break, to either API, after the last event it has seen,
//! and checks the guarantees of event streams.

use std::time::Duration;

use errand_devstack::client::{Event, EventStream, RequestError, StatusCode};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    client::{Client, MAX_SILENCE, PAUSE, User},
    record::{Record, Sent},
};

/// How long a stream may stay open after its final event.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// What a subscriber has seen of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The number of the last event.
    last: Option<i64>,
    /// The reply so far.
    text: String,
    /// The results of tools.
    results: Vec<Value>,
    /// Whether a stream broke after an event and before the final one.
    pub(crate) was_cut_off: bool,
}

impl Client {
    /// Reads the run's events up to the final one. Returns false if that took too long, which is a violation.
    pub(crate) async fn subscribe(&self, user: &User, sent: &mut Sent, api: usize) -> bool {
        let Some(run) = sent.run else { return false };
        let began = Instant::now();
        for api in api.. {
            if sent.answer.is_some() {
                break;
            }
            if began.elapsed() > self.timeout {
                self.record
                    .violation("a subscriber receives the final event", run.to_string());
                return false;
            }
            let request = user
                .account
                .events(&run.to_string(), sent.seen.last)
                .timeout(MAX_SILENCE);
            match self.api(api).open_stream(request).await {
                Ok(stream) if stream.status == StatusCode::OK => self.read(user, sent, stream).await,
                Ok(stream) if stream.status != StatusCode::SERVICE_UNAVAILABLE => {
                    let detail = format!("{} for the events of {run}", stream.status);
                    self.record
                        .violation("every response follows the API contract", detail);
                }
                Ok(_) | Err(_) => {}
            }
            if sent.answer.is_none() {
                sleep(PAUSE).await;
            }
        }
        true
    }

    /// Reads a stream to its end, or until it breaks, and approves the tool calls that need approval.
    pub(crate) async fn read(&self, user: &User, sent: &mut Sent, mut stream: EventStream) {
        let before = sent.seen.last;
        let deadline = Instant::now() + self.timeout;
        while let Ok(Ok(Some(event))) = timeout_at(deadline, stream.next(MAX_SILENCE)).await {
            self.process(sent, &event);
            if event.event == "approval.requested"
                && let Some(run) = sent.run
            {
                let envelope: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let call = envelope.get("data").unwrap_or(&Value::Null);
                self.approve(user, run, call, 0).await;
            }
            if sent.answer.is_some() {
                let end = timeout(CLOSED_WITHIN, stream.next(MAX_SILENCE)).await;
                if !matches!(end, Ok(Ok(None) | Err(RequestError::Broken(_)))) {
                    let detail = format!("{:?}", sent.run);
                    self.record
                        .violation("an event stream ends after its final event", detail);
                }
                return;
            }
        }
        sent.seen.was_cut_off |= sent.seen.last > before;
    }

    fn process(&self, sent: &mut Sent, event: &Event) {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        self.note(sent, &data);
        sent.answer = sent.seen.process(&self.record, event, &data);
    }
}

impl Seen {
    /// Whether any event was received.
    pub(crate) const fn has_events(&self) -> bool {
        self.last.is_some()
    }

    /// Processes one event. Returns the response in the final one.
    fn process(&mut self, record: &Record, event: &Event, envelope: &Value) -> Option<Value> {
        let run = envelope.get("run_id").and_then(Value::as_str).unwrap_or_default();
        let seq = envelope.get("seq").and_then(Value::as_i64);
        let kind = envelope.get("type").and_then(Value::as_str).unwrap_or_default();
        let context = || format!("run {run}, {kind} {seq:?} after {:?}", self.last);
        if seq.is_none() || event.id.parse().ok() != seq || event.event != kind {
            record.violation("an event's fields match its envelope", context());
        }
        if seq <= self.last {
            record.violation("no event is sent twice", context());
        }
        self.last = seq.max(self.last);
        let data = envelope.get("data").unwrap_or(&Value::Null);
        let text = data.get("text").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "message.delta" => self.text.push_str(text),
            "message.reset" => text.clone_into(&mut self.text),
            "tool.finished" => self.results.extend(data.get("result").cloned()),
            "run.succeeded" => {
                let response = data.get("response").cloned().unwrap_or_default();
                self.compare(record, run, &response);
                return Some(response);
            }
            "run.failed" => return Some(json!({"status": "failed"})),
            "run.cancelled" => return Some(json!({"status": "cancelled"})),
            _ => {}
        }
        None
    }

    /// Compares the events with the final response.
    fn compare(&self, record: &Record, run: &str, response: &Value) {
        let reply = response
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !reply.starts_with(&self.text) {
            let detail = format!("run {run}: streamed {:?}, stored {reply:?}", self.text);
            record.violation("streamed text is part of the stored reply", detail);
        }
        let calls = response.get("tool_calls").and_then(Value::as_array);
        let stored: Vec<_> = calls
            .into_iter()
            .flatten()
            .filter_map(|call| call.get("result"))
            .collect();
        for result in self.results.iter().filter(|result| !stored.contains(result)) {
            let detail = format!("run {run}: {result}");
            record.violation("every streamed tool result is stored", detail);
        }
    }
}

#[cfg(test)]
mod tests;
