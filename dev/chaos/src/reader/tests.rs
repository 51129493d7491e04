//! Each promise to a reader, broken by hand.

use super::*;

/// What is reported of these events, given as number, type and data, and the answer they come to.
fn told(events: &[(i64, &str, Value)]) -> (Vec<&'static str>, Option<Value>) {
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
        answer = seen.take(&record, &event, &envelope);
    }
    let broken = record.violations().into_iter().map(|broken| broken.what);
    (broken.collect(), answer)
}

fn succeeded(reply: &str) -> Value {
    json!({"response": {"status": "succeeded", "message": reply, "tool_calls": [{"result": {"success": true}}]}})
}

#[test]
fn a_run_that_was_begun_anew_and_told_well_breaks_nothing() {
    let (broken, answer) = told(&[
        (1, "run.queued", json!({})),
        (2, "message.delta", json!({"text": "Hal"})),
        (3, "message.reset", json!({"text": ""})),
        (4, "tool.finished", json!({"result": {"success": true}})),
        (5, "message.delta", json!({"text": "Do"})),
        (6, "message.delta", json!({"text": "ne."})),
        (9, "run.succeeded", succeeded("Done.")),
    ]);
    assert!(broken.is_empty(), "{broken:?}");
    assert_eq!(answer.unwrap()["message"], "Done.");
}

#[test]
fn half_an_answer_told_twice_is_reported() {
    let twice = [
        (2, "message.delta", json!({"text": "Do"})),
        (3, "message.delta", json!({"text": "Done."})),
        (4, "run.succeeded", succeeded("Done.")),
    ];
    assert_eq!(told(&twice).0, ["nobody is told what the reply does not hold"]);
}

#[test]
fn a_number_that_does_not_grow_is_reported() {
    let same = [(2, "run.started", json!({})), (2, "run.started", json!({}))];
    assert_eq!(told(&same).0, ["a reader is told nothing twice"]);
}

#[test]
fn a_tool_call_that_is_not_in_the_end_is_reported() {
    let phantom = [
        (2, "tool.finished", json!({"result": {"success": false}})),
        (3, "run.succeeded", succeeded("Done.")),
    ];
    assert_eq!(told(&phantom).0, ["a tool call that was told has happened"]);
}
