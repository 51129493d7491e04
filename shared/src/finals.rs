//! News of runs that have ended: one channel for all, so that any API instance can answer for any run.
//!
//! It is a hint that saves a read: who misses it reads the row.

use chrono::DateTime;
use uuid::Uuid;

use crate::events::RunEnd;

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
    serde_json::to_writer(&mut payload, &end.response)?;
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{ChatResponse, Usage},
        run::RunStatus,
    };

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
                problem: None,
            },
        };
        let payload = encode(&end).unwrap();
        let news = FinalNews::split(&payload).unwrap();
        assert_eq!((news.run_id, news.user_id), (end.response.run_id, end.user_id));
        assert_eq!(news.read().unwrap(), end);
        assert!(FinalNews::split(&payload[..HEAD - 1]).is_none());
    }
}
