//! News of runs that have ended: one channel for all, so that any API instance can answer for any run.
//!
//! It is a hint that saves a read: who misses it reads the row.

use uuid::Uuid;

use crate::chat::ChatResponse;

/// Encodes the news of an ended run: its id, so that nobody need parse what nobody waits for, then the answer as JSON.
///
/// # Errors
/// If the answer can't be written as JSON.
pub fn encode(response: &ChatResponse) -> Result<Vec<u8>, serde_json::Error> {
    let mut payload = Vec::with_capacity(512);
    payload.extend_from_slice(response.run_id.as_bytes());
    serde_json::to_writer(&mut payload, response)?;
    Ok(payload)
}

/// Splits a payload into the run's id and the answer, still as JSON. None if it is not ours.
pub fn split(payload: &[u8]) -> Option<(Uuid, &[u8])> {
    let (id, answer) = payload.split_first_chunk::<16>()?;
    Some((Uuid::from_bytes(*id), answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::Usage, run::RunStatus};

    #[test]
    fn news_comes_back_as_it_was_sent() {
        let response = ChatResponse {
            conversation_id: Uuid::now_v7(),
            message: "done".to_owned(),
            tool_calls: Vec::new(),
            usage: Usage::new(2, 3),
            run_id: Uuid::now_v7(),
            status: RunStatus::Succeeded,
            problem: None,
        };
        let payload = encode(&response).unwrap();
        let (id, answer) = split(&payload).unwrap();
        assert_eq!(id, response.run_id);
        assert_eq!(serde_json::from_slice::<ChatResponse>(answer).unwrap(), response);
        assert_eq!(split(b"short"), None);
    }
}
