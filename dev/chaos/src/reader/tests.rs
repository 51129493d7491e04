//! Breaks each guarantee of event streams.

use super::*;

/// Processes events of number, type and data. Returns the violations and the final response.
fn process(events: &[(i64, &str, Value)]) -> (Vec<&'static str>, Option<Value>) {
    let record = Record::default();
    let mut seen = Seen::default();
    let mut answer = None;
    for (seq, kind, data) in events {
        let event = Event {
            event: (*kind).to_owned(),
            id: seq.to_string(),
            ..Event::default()
        };
        let envelope = json!({"seq": seq, "type": kind, "run_id": "r", "data": data});
        answer = seen.process(&record, &event, &envelope);
    }
    let violations = record
        .violations()
        .into_iter()
        .map(|violation| violation.guarantee);
    (violations.collect(), answer)
}

fn succeeded(reply: &str) -> Value {
    json!({"response": {"status": "succeeded", "message": reply, "tool_calls": [{"result": {"success": true}}]}})
}

#[test]
fn correct_events_of_a_restarted_run_have_no_violation() {
    let (violations, answer) = process(&[
        (1, "run.queued", json!({})),
        (2, "message.delta", json!({"text": "Hal"})),
        (3, "message.reset", json!({"text": ""})),
        (4, "tool.finished", json!({"result": {"success": true}})),
        (5, "message.delta", json!({"text": "Do"})),
        (6, "message.delta", json!({"text": "ne."})),
        (9, "run.succeeded", succeeded("Done.")),
    ]);
    assert!(violations.is_empty(), "{violations:?}");
    assert_eq!(answer.unwrap()["message"], "Done.");
}

#[test]
fn text_that_is_streamed_twice_is_reported() {
    let twice = [
        (2, "message.delta", json!({"text": "Do"})),
        (3, "message.delta", json!({"text": "Done."})),
        (4, "run.succeeded", succeeded("Done.")),
    ];
    assert_eq!(process(&twice).0, ["streamed text is part of the stored reply"]);
}

#[test]
fn a_repeated_event_number_is_reported() {
    let same = [(2, "run.started", json!({})), (2, "run.started", json!({}))];
    assert_eq!(process(&same).0, ["no event is sent twice"]);
}

#[test]
fn a_tool_result_that_is_not_stored_is_reported() {
    let phantom = [
        (2, "tool.finished", json!({"result": {"success": false}})),
        (3, "run.succeeded", succeeded("Done.")),
    ];
    assert_eq!(process(&phantom).0, ["every streamed tool result is stored"]);
}
