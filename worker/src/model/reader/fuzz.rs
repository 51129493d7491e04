//! What every answer and every error must satisfy, whatever the bytes are: for the property tests below and for dev/fuzz.

use std::sync::Arc;

use errand_agent::{Action, AgentRun, Instructions, Limits, ModelAnswer, Prompt};
use reqwest::header::HeaderMap;

use super::{AnswerReader, ModelError, ProviderError};

type Read = Result<ModelAnswer, ModelError>;

/// The largest error text: 300 characters of the provider with the words around them.
const MAX_ERROR_BYTES: usize = 4 * 300 + 200;
/// Beyond this size, bytes are not read one at a time, to save time.
const MAX_SINGLE_BYTES: usize = 4096;

/// Reads a body in several ways and checks the results. The first byte selects how the body is cut.
///
/// # Panics
/// If a rule is broken.
pub(crate) fn fuzz_reader(data: &[u8]) {
    let (cut, body) = data
        .split_first()
        .map_or((1, data), |(first, rest)| (*first, rest));
    let whole = read(&[body], None);
    check(&whole, body.len());
    let text = format!("{whole:?}");
    let pieces: Vec<_> = body.chunks(usize::from(cut).max(1)).collect();
    assert_eq!(format!("{:?}", read(&pieces, None)), text, "in pieces of {cut}");
    if body.len() <= MAX_SINGLE_BYTES {
        let single: Vec<_> = body.chunks(1).collect();
        assert_eq!(format!("{:?}", read(&single, None)), text, "byte by byte");
    }
    // The connection breaks after a part of the body.
    let (start, _) = body.split_at(body.len() * usize::from(cut) / 256);
    check(&read(&[start], Some(ModelError::TimedOut)), start.len());
    // The body arrives with an error status.
    let status = 400 + u16::from(cut);
    let error = ProviderError::in_response(status, &HeaderMap::new(), body);
    check(&Err(error.into()), body.len());
}

fn read(pieces: &[&[u8]], error: Option<ModelError>) -> Read {
    let mut reader = AnswerReader::default();
    let mut shown = String::new();
    for piece in pieces {
        reader.push(piece)?;
        let content = reader.content();
        // Subscribers receive only the new end of the text, unless it starts again.
        let is_longer = content.starts_with(&shown);
        content.clone_into(&mut shown);
        assert!(
            reader.take_restarted() || is_longer,
            "the text was replaced by {shown:?}"
        );
    }
    reader.end(error)?;
    let shown = reader.content().to_owned();
    let answer = reader.into_answer("host/model");
    if answer.tool_calls.is_empty() {
        assert_eq!(answer.content, shown, "the reply is the text that was shown");
    }
    Ok(answer)
}

fn check(result: &Read, body_bytes: usize) {
    match result {
        Ok(answer) => check_answer(answer, body_bytes),
        Err(error) => {
            for text in [error.to_string(), error.reason()] {
                assert!(text.len() <= MAX_ERROR_BYTES, "{text}");
                assert!(!text.contains(char::is_control), "{text:?}");
            }
            let wait = error.retry_after().unwrap_or_default();
            assert!(wait.as_secs() <= 48 * 3600, "{wait:?}");
        }
    }
}

fn check_answer(answer: &ModelAnswer, body_bytes: usize) {
    let calls = answer.tool_calls.iter();
    let call_bytes = calls.map(|call| call.id.len() + call.name.len() + call.arguments.len());
    let refusal = answer.refusal.as_deref().unwrap_or_default();
    let bytes = answer.content.len() + refusal.len() + answer.model.len() + call_bytes.sum::<usize>();
    // An invalid byte becomes three bytes, and a number in arguments may be written with more digits.
    assert!(
        bytes <= 16 * body_bytes + 64,
        "{bytes} bytes of {body_bytes}: {answer:?}"
    );
    let prompt = Prompt::new("Ada", "2026-01-31", Arc::new(Instructions::new("Help.")));
    let mut run = AgentRun::new(
        Limits::default(),
        prompt,
        Vec::new(),
        "Hello".to_owned(),
        Vec::new(),
    );
    run.model_answered(answer.clone());
    match run.next() {
        Action::CallTools { calls, .. } => assert_eq!(calls.len(), answer.tool_calls.len()),
        Action::Reply { text } => assert!(!text.trim().is_empty(), "the reply is blank"),
        Action::CallModel { .. } | Action::Fail(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// Bodies of the kinds that providers send.
    const BODIES: [&str; 10] = [
        "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
         data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"add_task\",\"arguments\":\"\"}}]}}]}\n\n\
         data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"title\\\":\"}}]}}]}\n\n\
         data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"list_tasks\",\"arguments\":\"{}\"}},{\"index\":0,\"function\":{\"arguments\":\"\\\"a\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"<think>Hm</think>\\n\\nSo\",\"reasoning_content\":\"Hm\"}}]}\n\n\
         data: {\"choices\":[{\"delta\":{\"content\":\" \\ud83e\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\\udd80 </think> x\"},\"finish_reason\":\"length\"}]}\n\n",
        "\u{feff}: comment\r\n\r\nevent: ping\rdata: {}\r\rdata: {\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"refusal\",\"refusal\":\"No\"}]}}]}\r\n\r\n",
        "{\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":\"No.\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":{\"x\":[1,2.5e10,null]}}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
        "data: {\"choices\":[{\"delta\":{\"function_call\":{\"name\":\"add\",\"arguments\":\"\"}}}]}\n\ndata: {\"choices\":[{\"delta\":{\"function_call\":{\"arguments\":\"{}\"}},\"finish_reason\":\"function_call\"}]}\n\ndata: [DONE]\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"code\":429,\"message\":\"busy, try again in 1m2.5s\",\"metadata\":{\"raw\":\"b\"}}}\n\nevent: error\ndata: overloaded\n\nerror: {\"code\":500}\n\n",
        "[{\"error\":{\"code\":400,\"message\":\"no\\u0000\\nline\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"retryDelay\":\"34s\"}]}}]",
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}},{\"index\":0,\"delta\":{\"content\":\"b\",\"tool_calls\":[{\"index\":\"-1\",\"id\":null,\"function\":null},{\"id\":\"\",\"name\":\"n\",\"arguments\":null}]}}],\"usage\":{\"prompt_tokens\":NaN,\"completion_tokens\":1e999}}\n\ndata: [DONE]\n\n",
        "<html><body>502 Bad Gateway</body></html>",
    ];

    /// Pieces that change the meaning of others.
    const TOKENS: [&str; 30] = [
        "data: ",
        "\n\n",
        "\r",
        "[DONE]",
        "null",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ",",
        ":",
        "<think>",
        "</think>",
        "<reasoning>",
        "\\ud83e",
        "\\u0000",
        "-1",
        "1e999",
        "NaN",
        "{}",
        "event: error\n",
        "error: ",
        "\"finish_reason\":\"stop\"",
        "\"index\":0,",
        "\"error\":{\"message\":\"x\"},",
        "data: [DONE]\n\n",
        "\u{feff}",
        "</think>\n",
    ];

    #[derive(Clone, Debug)]
    enum Change {
        Insert(Index, &'static str),
        Delete(Index, usize),
        Repeat(Index, usize),
        Replace(Index, u8),
        Cut(Index),
        /// Inserts the rest of another body.
        Splice(Index, &'static str, Index),
    }

    fn change() -> impl Strategy<Value = Change> {
        let at = any::<Index>;
        prop_oneof![
            4 => (at(), prop::sample::select(TOKENS.as_slice())).prop_map(|(at, token)| Change::Insert(at, token)),
            2 => (at(), 1..80_usize).prop_map(|(at, length)| Change::Delete(at, length)),
            2 => (at(), 1..200_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
            2 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
            1 => at().prop_map(Change::Cut),
            1 => (at(), prop::sample::select(BODIES.as_slice()), at())
                .prop_map(|(at, other, from)| Change::Splice(at, other, from)),
        ]
    }

    fn changed(mut body: Vec<u8>, change: &Change) -> Vec<u8> {
        let place = |at: &Index| at.index(body.len() + 1);
        match change {
            Change::Insert(at, token) => {
                let at = place(at);
                body.splice(at..at, token.bytes());
            }
            Change::Delete(at, length) => {
                let at = place(at);
                body.drain(at..body.len().min(at + length));
            }
            Change::Repeat(at, length) => {
                let at = place(at);
                body.extend_from_within(at..body.len().min(at + length));
            }
            Change::Replace(at, new) => {
                let at = place(at);
                if let Some(byte) = body.get_mut(at) {
                    *byte = *new;
                }
            }
            Change::Cut(at) => {
                let at = place(at);
                body.truncate(at);
            }
            Change::Splice(at, other, from) => {
                let at = place(at);
                let from = from.index(other.len());
                body.splice(at..at, other.bytes().skip(from));
            }
        }
        body
    }

    proptest! {
        // PROPTEST_CASES sets another number of cases.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn changed_answers_are_read_or_fail_with_a_kind(
            body in prop::sample::select(BODIES.as_slice()),
            changes in vec(change(), 0..6),
            cut in any::<u8>(),
        ) {
            let body = changes.iter().fold(body.as_bytes().to_vec(), changed);
            fuzz_reader(&[&[cut], body.as_slice()].concat());
        }

        #[test]
        fn any_bytes_are_read_or_fail_with_a_kind(data in vec(any::<u8>(), 0..400)) {
            fuzz_reader(&data);
        }

        #[test]
        fn any_tokens_are_read_or_fail_with_a_kind(
            tokens in vec(prop::sample::select(TOKENS.as_slice()), 0..60),
            cut in any::<u8>(),
        ) {
            fuzz_reader(&[&[cut], tokens.concat().as_bytes()].concat());
        }
    }
}
