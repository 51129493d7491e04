//! News of runs that have ended: one channel for all, so that any API instance can answer for any run.
//!
//! It is a hint that saves a read: who misses it reads the row.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{chat::ChatResponse, events::RunEnd, timing::RunTiming};

/// Bytes before the answer: run, user, number, attempt, microseconds.
#[cfg(test)]
const HEAD: usize = 16 + 16 + 8 + 4 + 8;

/// News as it came: whom it is about, so that nobody need parse what nobody waits for.
#[derive(Clone, Copy, Debug)]
pub struct FinalNews<'a> {
    /// The run.
    pub run_id: Uuid,
    /// Whose it was.
    pub user_id: Uuid,
    seq: i64,
    attempt: i32,
    micros: i64,
    answer: &'a [u8],
}

/// The answer with one member more, which who does not know it passes over.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    response: &'a ChatResponse,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing: Option<RunTiming>,
}

/// That member alone.
#[derive(Deserialize)]
struct Timed {
    #[serde(default)]
    timing: Option<RunTiming>,
}

/// Encodes the news of an ended run: what must be known before it is parsed, then the answer as JSON.
///
/// # Errors
/// If the answer can't be written as JSON.
pub fn encode(end: &RunEnd) -> Result<Vec<u8>, serde_json::Error> {
    let mut payload = Vec::with_capacity(512);
    payload.extend_from_slice(end.response.run_id.as_bytes());
    payload.extend_from_slice(end.user_id.as_bytes());
    payload.extend_from_slice(&end.seq.to_be_bytes());
    payload.extend_from_slice(&end.attempt.to_be_bytes());
    payload.extend_from_slice(&end.at.timestamp_micros().to_be_bytes());
    let answer = Answer {
        response: &end.response,
        timing: end.timing,
    };
    serde_json::to_writer(&mut payload, &answer)?;
    Ok(payload)
}

impl<'a> FinalNews<'a> {
    /// Reads the head of a payload. None if it is not ours.
    pub fn split(payload: &'a [u8]) -> Option<Self> {
        let (run_id, rest) = payload.split_first_chunk::<16>()?;
        let (user_id, rest) = rest.split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (attempt, rest) = rest.split_first_chunk()?;
        let (micros, answer) = rest.split_first_chunk()?;
        Some(Self {
            run_id: Uuid::from_bytes(*run_id),
            user_id: Uuid::from_bytes(*user_id),
            seq: i64::from_be_bytes(*seq),
            attempt: i32::from_be_bytes(*attempt),
            micros: i64::from_be_bytes(*micros),
            answer,
        })
    }

    /// The whole of it.
    ///
    /// # Errors
    /// If the answer is not one.
    pub fn read(&self) -> Result<RunEnd, serde_json::Error> {
        Ok(RunEnd {
            user_id: self.user_id,
            seq: self.seq,
            attempt: self.attempt,
            at: DateTime::from_timestamp_micros(self.micros).unwrap_or_default(),
            response: serde_json::from_slice(self.answer)?,
            // Read by itself, because a flattened answer would be copied on its way.
            timing: serde_json::from_slice::<Timed>(self.answer)?.timing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{chat::Usage, run::RunStatus};

    #[test]
    fn news_comes_back_as_it_was_sent() {
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
        let payload = encode(&end).unwrap();
        let news = FinalNews::split(&payload).unwrap();
        assert_eq!((news.run_id, news.user_id), (end.response.run_id, end.user_id));
        assert_eq!(news.read().unwrap(), end);
        assert!(FinalNews::split(&payload[..HEAD - 1]).is_none());
        // Programs of before know an answer only.
        let answer: ChatResponse = serde_json::from_slice(&payload[HEAD..]).unwrap();
        assert_eq!(answer, end.response);
    }
}
