//! Reads a run's events as a browser would: comes back after every break, to either API, from the last number that it has
//! seen, and holds what it is told to the promises while it reads.

use std::time::Duration;

use eventsource_stream::{Event, Eventsource};
use futures::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    client::{Client, PAUSE, User},
    record::{Record, Sent},
};

/// How long a stream may go on after its final event.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What a reader knows of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The number of the last event.
    last: Option<i64>,
    /// The reply so far.
    text: String,
    /// What tools were said to have answered.
    results: Vec<Value>,
    /// Whether a stream that had told something was cut off before its end.
    pub(crate) cut_off: bool,
}

impl Client {
    /// Reads the run to its final event. False if that took too long, which is a broken promise.
    pub(crate) async fn watch(&self, user: &User, sent: &mut Sent, api: usize) -> bool {
        let Some(run) = sent.run else { return false };
        let began = Instant::now();
        for api in api.. {
            if sent.answer.is_some() {
                break;
            }
            if began.elapsed() > self.patience {
                self.record.broken("a reader is told the end", run.to_string());
                return false;
            }
            let mut request = self.get(user.id, user, api, &format!("/runs/{run}/events"));
            if let Some(last) = sent.seen.last {
                request = request.header("last-event-id", last);
            }
            match request.send().await {
                Ok(answer) if answer.status() == StatusCode::OK => self.read(user, sent, answer).await,
                Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                    let detail = format!("{} for the events of {run}", answer.status());
                    self.record
                        .broken("every answer is one of the contract's", detail);
                }
                Ok(_) | Err(_) => {}
            }
            if sent.answer.is_none() {
                sleep(PAUSE).await;
            }
        }
        true
    }

    /// Reads a stream to its end, or to where it breaks, and consents to what it asks for.
    pub(crate) async fn read(&self, user: &User, sent: &mut Sent, answer: Response) {
        let before = sent.seen.last;
        let mut events = answer.bytes_stream().eventsource();
        let until = Instant::now() + self.patience;
        // A living stream is never silent for longer than the client's read time-out, but comments are no events.
        while let Ok(Some(Ok(event))) = timeout_at(until, events.next()).await {
            self.take(sent, &event);
            if event.event == "approval.requested"
                && let Some(run) = sent.run
            {
                let envelope: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let call = envelope.get("data").unwrap_or(&Value::Null);
                self.approve(user, run, call, 0).await;
            }
            if sent.answer.is_some() {
                if !matches!(timeout(ENDS_WITHIN, events.next()).await, Ok(None | Some(Err(_)))) {
                    let detail = format!("{:?}", sent.run);
                    self.record.broken("a stream ends with its final event", detail);
                }
                return;
            }
        }
        sent.seen.cut_off |= sent.seen.last > before;
    }

    fn take(&self, sent: &mut Sent, event: &Event) {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        self.note(sent, &data);
        sent.answer = sent.seen.take(&self.record, event, &data);
    }
}

impl Seen {
    /// Whether any event was read.
    pub(crate) const fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    /// One event; the answer that it comes to if it is the final one.
    fn take(&mut self, record: &Record, event: &Event, envelope: &Value) -> Option<Value> {
        let run = envelope.get("run_id").and_then(Value::as_str).unwrap_or_default();
        let seq = envelope.get("seq").and_then(Value::as_i64);
        let kind = envelope.get("type").and_then(Value::as_str).unwrap_or_default();
        let at = || format!("run {run}, {kind} {seq:?} after {:?}", self.last);
        if seq.is_none() || event.id.parse().ok() != seq || event.event != kind {
            record.broken("an event is what its envelope says", at());
        }
        if seq <= self.last {
            record.broken("a reader is told nothing twice", at());
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

    /// Holds what was told on the way to the end.
    fn compare(&self, record: &Record, run: &str, response: &Value) {
        let reply = response
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !reply.starts_with(&self.text) {
            let detail = format!("run {run}: told {:?}, stored {reply:?}", self.text);
            record.broken("nobody is told what the reply does not hold", detail);
        }
        let calls = response.get("tool_calls").and_then(Value::as_array);
        let stored: Vec<_> = calls
            .into_iter()
            .flatten()
            .filter_map(|call| call.get("result"))
            .collect();
        for result in self.results.iter().filter(|result| !stored.contains(result)) {
            let detail = format!("run {run}: {result}");
            record.broken("a tool call that was told has happened", detail);
        }
    }
}

#[cfg(test)]
mod tests;
