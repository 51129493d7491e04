use errand_agent::FinishReason;

use super::*;
use crate::model::ErrorKind;

type Result<T = ModelAnswer> = std::result::Result<T, ModelError>;

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, error: Option<ModelError>) -> Result {
    let mut reader = AnswerReader::default();
    for piece in pieces {
        reader.push(piece)?;
    }
    reader.end(error)?;
    Ok(reader.into_answer("host/model"))
}

/// Reads a body in one piece, in all pairs of pieces and byte by byte, and asserts that the result is the same.
fn read(body: impl AsRef<[u8]>) -> Result {
    let body = body.as_ref();
    let whole = read_pieces([body], None);
    let text = |result: &Result| format!("{result:?}");
    for cut in 1..body.len() {
        let (start, end) = body.split_at(cut);
        assert_eq!(
            text(&read_pieces([start, end], None)),
            text(&whole),
            "cut at {cut}"
        );
    }
    assert_eq!(
        text(&read_pieces(body.chunks(1), None)),
        text(&whole),
        "byte by byte"
    );
    whole
}

/// A stream of events with these data.
fn stream<const N: usize>(data: [&str; N]) -> String {
    data.map(|data| format!("data: {data}\n\n")).concat()
}

fn text(content: &str) -> String {
    format!(
        r#"{{"choices":[{{"index":0,"delta":{{"content":{}}}}}]}}"#,
        serde_json::json!(content)
    )
}

fn finished(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

/// The content of the answer in a stream.
fn content<const N: usize>(data: [&str; N]) -> String {
    read(stream(data)).unwrap().content
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn stream_as_specified() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let first = r#"{"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#;
    let answer = read(stream([
        first,
        &text("Hel"),
        &text("lo."),
        &finished("stop"),
        usage,
        "[DONE]",
    ]))
    .unwrap();
    assert_eq!((&*answer.content, &*answer.model), ("Hello.", "m"));
    assert_eq!(
        (answer.usage.prompt_tokens, answer.usage.completion_tokens),
        (3, 2)
    );
    assert_eq!((answer.finish, answer.refusal), (FinishReason::Stop, None));
}

#[test]
fn members_of_unexpected_types_are_missing() {
    let end = finished("stop");
    for odd in [
        "null",
        "[]",
        "true",
        r#""text""#,
        "{}",
        r#"{"choices":null,"usage":{"prompt_tokens":null}}"#,
        r#"{"choices":[null]}"#,
        r#"{"choices":[{"index":0,"delta":null,"finish_reason":null}]}"#,
        r#"{"choices":[{"delta":{"role":null,"content":null,"tool_calls":null,"function_call":null}}]}"#,
        r#"{"choices":[],"prompt_filter_results":[{}],"model":"","id":"","object":""}"#,
        r#"{"choices":[{"index":0,"content_filter_results":{}}],"error":null}"#,
        r#"{"choices":5,"model":[]}"#,
    ] {
        assert_eq!(
            content([&text("a"), odd, &text("b"), &end, "[DONE]"]),
            "ab",
            "{odd}"
        );
    }
}

#[test]
fn empty_events_and_comments_are_ignored() {
    let body = format!(
        ": hi\n\ndata:\n\ndata: \n\nevent: ping\ndata: {{}}\n\n: ok\n\ndata: ping\n\n{}",
        stream([&text("a"), &finished("stop")])
    );
    assert_eq!(read(body).unwrap().content, "a");
}

#[test]
fn byte_order_mark_and_line_endings() {
    let body = stream([&text("a"), &finished("stop"), "[DONE]"]);
    for end in ["\n", "\r", "\r\n"] {
        let body = format!("\u{feff}{}", body.replace('\n', end));
        assert_eq!(read(body).unwrap().content, "a", "{end:?}");
    }
}

#[test]
fn content_as_parts() {
    let parts = r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]},{"type":"text","text":"a"}]}}]}"#;
    assert_eq!(content([parts, &text("b"), &finished("stop")]), "ab");
}

#[test]
fn reasoning_is_not_content() {
    let reasoning = r#"{"choices":[{"delta":{"content":"","reasoning":"Hm","reasoning_content":"Hm","reasoning_details":[{"text":"Hm"}]}}]}"#;
    let thought = text("<think>Hm</think>\n\n");
    assert_eq!(content([reasoning, &thought, &text("a"), &finished("stop")]), "a");
    let only = read(stream([&text("<think>Hm"), &finished("length")])).unwrap();
    assert_eq!((&*only.content, only.finish), ("", FinishReason::Length));
}

#[test]
fn reasoning_beside_tool_calls_stays_in_the_content() {
    let call =
        r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"add","arguments":"{}"}}]}}]}"#;
    let thought = text("<think>Hm</think>\n\n");
    let answer = read(stream([&thought, &text("So."), call, &finished("tool_calls")])).unwrap();
    assert_eq!(answer.content, "<think>Hm</think>\n\nSo.");
    assert_eq!(answer.tool_calls.len(), 1);
}

#[test]
fn refusal_is_kept() {
    let refusal = r#"{"choices":[{"delta":{"refusal":"No."}}]}"#;
    let answer = read(stream([refusal, &finished("stop")])).unwrap();
    assert_eq!(
        (answer.content.as_str(), answer.refusal.as_deref()),
        ("", Some("No."))
    );
    let empty = r#"{"choices":[{"delta":{"content":"a","refusal":""}}]}"#;
    assert_eq!(read(stream([empty, &finished("stop")])).unwrap().refusal, None);
}

#[test]
fn only_one_choice_is_read() {
    let other = r#"{"choices":[{"index":1,"delta":{"content":"x"},"finish_reason":"length"}]}"#;
    let both = r#"{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"b"}}]}"#;
    let answer = read(stream([&text("a"), other, both, &finished("stop")])).unwrap();
    assert_eq!((&*answer.content, answer.finish), ("ab", FinishReason::Stop));
    let unnumbered = r#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"x"}}]}"#;
    assert_eq!(content([unnumbered, &finished("stop")]), "a");
}

#[test]
fn usage_in_any_chunk_and_notation() {
    let usage = |data: &str| {
        let usage = read(stream([&text("a"), data, &finished("stop"), "[DONE]"]))
            .unwrap()
            .usage;
        (usage.prompt_tokens, usage.completion_tokens)
    };
    for (data, expected) in [
        (
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2.0}}"#,
            (3, 2),
        ),
        (
            r#"{"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":2}}}"#,
            (3, 2),
        ),
        (
            r#"{"choices":[{"delta":{},"usage":{"prompt_tokens":"3","completion_tokens":2}}]}"#,
            (3, 2),
        ),
        (
            r#"{"usage":{"prompt_tokens":-3,"completion_tokens":null}}"#,
            (0, 0),
        ),
        (
            r#"{"usage":{"prompt_tokens":NaN,"completion_tokens":1e999,"total":-Infinity}}"#,
            (0, 0),
        ),
        (r#"{"usage":[]}"#, (0, 0)),
    ] {
        assert_eq!(usage(data), expected, "{data}");
    }
    let counts = |prompt: &str, completion: &str| {
        format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}}}"#)
    };
    let data = [
        &text("a"),
        &counts("3", "1"),
        &counts("3", "2"),
        &finished("stop"),
        &counts("0", "null"),
    ];
    let answer = read(stream(data.map(String::as_str))).unwrap();
    assert_eq!(
        (answer.usage.prompt_tokens, answer.usage.completion_tokens),
        (3, 2)
    );
}

#[test]
fn finish_reason_may_be_missing_empty_or_repeated() {
    let end = "[DONE]";
    assert_eq!(
        read(stream([&text("a"), end])).unwrap().finish,
        FinishReason::Stop
    );
    let empty = r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#;
    assert_eq!(
        read(stream([empty, empty, &finished("length")])).unwrap().finish,
        FinishReason::Length
    );
    let data = [&text("a"), &finished("tool_calls"), &finished("stop")];
    assert_eq!(
        read(stream(data.map(String::as_str))).unwrap().finish,
        FinishReason::ToolCalls
    );
    let late = [&*finished("stop"), &text("late"), end];
    assert_eq!(content(late), "late");
    assert_eq!(
        kind(read(stream([&text("a"), &finished("error")]))),
        ErrorKind::ServerError
    );
}

#[test]
fn nothing_after_done_is_read() {
    assert_eq!(
        content([
            &text("a"),
            &finished("stop"),
            "[DONE]",
            &text("b"),
            r#"{"error":"x"}"#,
            "{"
        ]),
        "a"
    );
}

#[test]
fn complete_answer_survives_a_broken_connection() {
    let broken = || Some(ModelError::Connection("reset".to_owned()));
    let usage = r#"{"choices":[],"usage":{"completion_tokens":1}}"#;
    for end in [&*finished("stop"), usage, "[DONE]"] {
        let body = stream([&text("a"), end]);
        assert_eq!(
            read_pieces([body.as_bytes()], broken()).unwrap().content,
            "a",
            "{end}"
        );
        let open = read_pieces([body.as_bytes()], Some(ModelError::TimedOut));
        assert_eq!(open.unwrap().content, "a", "{end}");
    }
    let body = stream([&text("a"), &finished("stop")]);
    let garbled = format!("{body}data: {{\"choices\n\n");
    assert_eq!(read(garbled).unwrap().content, "a");
    let unfinished = stream([&text("a")]);
    assert_eq!(
        kind(read_pieces([unfinished.as_bytes()], Some(ModelError::TimedOut))),
        ErrorKind::Timeout
    );
}

#[test]
fn cut_stream_is_a_connection_error() {
    let early_usage = r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":1}}"#;
    for body in [
        stream([&text("a")]),
        stream([early_usage]),
        format!("{}data: {{\"choi", stream([&text("a")])),
    ] {
        assert_eq!(kind(read(body)), ErrorKind::Connection);
    }
}

#[test]
fn last_event_without_an_empty_line_is_read() {
    let body = stream([&text("a"), &finished("stop")]);
    assert_eq!(read(body.trim_end()).unwrap().content, "a");
    let body = stream([&text("a"), "[DONE]"]);
    assert_eq!(read(body.trim_end()).unwrap().content, "a");
}

#[test]
fn events_without_empty_lines_between_them() {
    let body = stream([&text("a"), &text("b"), &finished("stop"), "[DONE]"]).replace("\n\n", "\n");
    assert_eq!(read(body).unwrap().content, "ab");
}

#[test]
fn split_surrogate_pairs_and_invalid_bytes() {
    let half = |escape: &str| format!(r#"{{"choices":[{{"delta":{{"content":"{escape}"}}}}]}}"#);
    let data = [
        &half(r"a\ud83e"),
        &half(r"\udd80b"),
        &half(r"\ud83e\udd80"),
        &finished("stop"),
    ];
    assert_eq!(content(data.map(String::as_str)), "a🦀b🦀");
    let mut body = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff".to_vec();
    body.extend_from_slice(b"\"},\"finish_reason\":\"stop\"}]}\n\n");
    assert_eq!(read(body).unwrap().content, "\u{fffd}");
}

#[test]
fn complete_json_answer() {
    let answer = r#"{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    for body in [
        answer.to_owned(),
        format!("\u{feff}\n {answer}\n"),
        format!("[{answer}]"),
        stream([answer]),
    ] {
        let answer = read(&body).unwrap();
        assert_eq!((&*answer.content, answer.usage.total()), ("a", 5), "{body}");
    }
    let calls = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"add","arguments":{"x":1}}}]}}]}"#;
    let answer = read(calls).unwrap();
    assert_eq!(answer.tool_calls[0].arguments, r#"{"x":1}"#);
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    let lines = [text("a"), text("b"), finished("stop")].join("\n");
    assert_eq!(read(lines).unwrap().content, "ab");
    assert_eq!(kind(read(answer_cut(calls))), ErrorKind::Connection);
    assert_eq!(kind(read("{}")), ErrorKind::Malformed);
    assert_eq!(kind(read(r#"{"choices":[]}"#)), ErrorKind::Malformed);
}

fn answer_cut(json: &str) -> String {
    json.split_at(json.len() / 2).0.to_owned()
}

#[test]
fn final_message_does_not_repeat_the_deltas() {
    let message = r#"{"choices":[{"delta":null,"message":{"content":"ab"},"finish_reason":"stop"}]}"#;
    assert_eq!(content([&text("a"), &text("b"), message]), "ab");
    assert_eq!(content([message]), "ab");
}

#[test]
fn old_form_of_a_tool_call() {
    let piece =
        |call: &str| format!(r#"{{"choices":[{{"delta":{{"content":null,"function_call":{call}}}}}]}}"#);
    let data = [
        &piece(r#"{"name":"add","arguments":""}"#),
        &piece(r#"{"arguments":"{}"}"#),
        &finished("function_call"),
    ];
    let answer = read(stream(data.map(String::as_str))).unwrap();
    assert_eq!(
        (&*answer.tool_calls[0].name, &*answer.tool_calls[0].arguments),
        ("add", "{}")
    );
}

#[test]
fn errors_in_every_form() {
    let start = text("a");
    for (body, expected) in [
        (
            stream([r#"{"error":{"code":429,"message":"busy"}}"#]),
            ErrorKind::RateLimited,
        ),
        (
            stream([&start, r#"{"choices":[],"error":{"code":502,"message":"gone"}}"#]),
            ErrorKind::ServerError,
        ),
        (
            stream([
                &start,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"error":{"code":502}}"#,
            ]),
            ErrorKind::ServerError,
        ),
        (
            stream([&start, r#"{"error":"overloaded"}"#]),
            ErrorKind::ServerError,
        ),
        (
            stream([&start, r#"[{"error":{"code":400,"message":"no"}}]"#]),
            ErrorKind::BadRequest,
        ),
        (
            stream([&start, r#"{"object":"error","message":"no","code":401}"#]),
            ErrorKind::Authentication,
        ),
        (
            stream([&start, r#"{"detail":"no","status":403}"#]),
            ErrorKind::Authentication,
        ),
        (
            format!(
                "{}event: error\ndata: {{\"error\":{{\"code\":\"tool_use_failed\",\"status_code\":400}}}}\n\n",
                stream([&start])
            ),
            ErrorKind::UnreadableToolCall,
        ),
        (
            format!("{}event: error\ndata: overloaded\n\n", stream([&start])),
            ErrorKind::ServerError,
        ),
        (
            format!(
                "{}error: {{\"code\":500,\"message\":\"try again\"}}\n\n",
                stream([&start])
            ),
            ErrorKind::ServerError,
        ),
        (
            r#"{"error":{"code":502,"message":"gone"}}"#.to_owned(),
            ErrorKind::ServerError,
        ),
        (
            r#"[{"error":{"code":429,"message":"busy"}}]"#.to_owned(),
            ErrorKind::RateLimited,
        ),
        (
            r#"{"detail":"no","code":"model_not_found"}"#.to_owned(),
            ErrorKind::UnknownModel,
        ),
    ] {
        assert_eq!(kind(read(&body)), expected, "{body}");
    }
}

#[test]
fn bodies_that_are_not_answers_are_malformed() {
    for body in [
        "",
        "\u{feff}",
        "<html>\n\n</html>",
        "data: nonsense\n\n",
        "data: [DONE]\n\n",
        "data: {\"choices\n\n",
        "data: {}\n\n",
        "{nonsense}",
        "\n\n{}{nonsense}",
    ] {
        assert_eq!(kind(read(body)), ErrorKind::Malformed, "{body:?}");
    }
}

#[test]
fn limits_are_enforced() {
    let large = text(&"x".repeat(1024 * 1024));
    let body = stream([&large, &large]);
    assert_eq!(kind(read_pieces([body.as_bytes()], None)), ErrorKind::TooLarge);
    let document = format!("{{\"choices\":[{}]}}", " ".repeat(MAX_DOCUMENT_BYTES));
    assert_eq!(
        kind(read_pieces([document.as_bytes()], None)),
        ErrorKind::TooLarge
    );
    assert_eq!(
        kind(read_pieces([vec![b'x'; 3 << 20].as_slice()], None)),
        ErrorKind::TooLarge
    );
}
