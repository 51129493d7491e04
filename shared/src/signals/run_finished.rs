//! The message that reports a finished run and its answer to every API process, so that a waiting request needs no query.
//!
//! A lost message is harmless: the waiting request then finds the answer in the run's row.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[cfg(test)]
use super::wire::HEAD_BYTES;
use super::wire::{Head, Kind};
use crate::domain::{chat::ChatResponse, events::RunEnd, timing::RunTiming};

/// Bytes before the answer's JSON: the head, the attempt, the time in microseconds.
#[cfg(test)]
const BEFORE_ANSWER: usize = HEAD_BYTES + 4 + 8;

/// A received message whose answer is not parsed yet, because most instances do not wait for this run.
#[derive(Clone, Copy, Debug)]
pub struct RunFinished<'a> {
    /// The run.
    pub run_id: Uuid,
    /// Its user.
    pub user_id: Uuid,
    seq: i64,
    attempt: i32,
    micros: i64,
    answer: &'a [u8],
}

/// The answer plus its timing, which programs that do not know it ignore.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    response: &'a ChatResponse,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing: Option<RunTiming>,
}

/// The timing alone.
#[derive(Deserialize)]
struct Timed {
    #[serde(default)]
    timing: Option<RunTiming>,
}

/// Encodes the message for a finished run.
///
/// # Errors
/// If the answer cannot be written as JSON.
pub fn encode(end: &RunEnd) -> Result<Vec<u8>, serde_json::Error> {
    let head = Head {
        kind: Kind::Finished,
        user_id: end.user_id,
        run_id: end.response.run_id,
        number: end.seq,
    };
    let mut message = Vec::with_capacity(512);
    message.extend_from_slice(&head.encode());
    message.extend_from_slice(&end.attempt.to_be_bytes());
    message.extend_from_slice(&end.at.timestamp_micros().to_be_bytes());
    let answer = Answer {
        response: &end.response,
        timing: end.timing,
    };
    serde_json::to_writer(&mut message, &answer)?;
    Ok(message)
}

impl<'a> RunFinished<'a> {
    /// Decodes all but the answer. None if the message is of another kind.
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (head, rest) = Head::decode(message)?;
        let (attempt, rest) = rest.split_first_chunk()?;
        let (micros, answer) = rest.split_first_chunk()?;
        (head.kind == Kind::Finished).then_some(Self {
            run_id: head.run_id,
            user_id: head.user_id,
            seq: head.number,
            attempt: i32::from_be_bytes(*attempt),
            micros: i64::from_be_bytes(*micros),
            answer,
        })
    }

    /// Parses the answer.
    ///
    /// # Errors
    /// If the answer is not valid JSON of a [`ChatResponse`].
    pub fn parse(&self) -> Result<RunEnd, serde_json::Error> {
        Ok(RunEnd {
            user_id: self.user_id,
            seq: self.seq,
            attempt: self.attempt,
            at: DateTime::from_timestamp_micros(self.micros).unwrap_or_default(),
            response: serde_json::from_slice(self.answer)?,
            // Parsed separately, because serde copies the members of a flattened struct.
            timing: serde_json::from_slice::<Timed>(self.answer)?.timing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{chat::Usage, run::RunStatus};

    #[test]
    fn a_finished_run_survives_a_round_trip() {
        let end = RunEnd {
            user_id: Uuid::now_v7(),
            seq: 7,
            attempt: 2,
            at: DateTime::from_timestamp_micros(1_234_567).unwrap(),
            response: ChatResponse {
                conversation_id: Uuid::now_v7(),
                message: "done".to_owned(),
                tool_calls: Vec::new(),
                usage: Usage::new(2, 3),
                run_id: Uuid::now_v7(),
                status: RunStatus::Succeeded,
                approvals: Vec::new(),
                problem: None,
            },
            timing: Some(RunTiming::new(
                Duration::from_millis(1),
                Duration::from_millis(2),
                Duration::from_millis(3),
                Duration::from_millis(4),
            )),
        };
        let message = encode(&end).unwrap();
        let finished = RunFinished::decode(&message).unwrap();
        assert_eq!(
            (finished.run_id, finished.user_id),
            (end.response.run_id, end.user_id)
        );
        assert_eq!(finished.parse().unwrap(), end);
        assert!(RunFinished::decode(&message[..BEFORE_ANSWER - 1]).is_none());
        // A program that does not know the timing reads the answer alone.
        let answer: ChatResponse = serde_json::from_slice(&message[BEFORE_ANSWER..]).unwrap();
        assert_eq!(answer, end.response);
    }
}
