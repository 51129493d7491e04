//! Breaks each guarantee in a small stored state: the comparison must report this violation and no other.

use serde_json::json;

use super::*;
use crate::reader::Seen;

const USER: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const CONVERSATION: Uuid = Uuid::from_u128(3);

/// Two answered messages of a conversation; the first asked for a task.
fn correct_state() -> (StoredState, Vec<Sent>) {
    let sent = |position: usize| Sent {
        user: USER,
        text: format!("text {position}"),
        task: (position == 0).then(|| "milk".to_owned()),
        key: format!("key {position}"),
        agent: None,
        conversation: Some(CONVERSATION),
        position,
        run: Some(Uuid::from_u128(10 + position as u128)),
        answer: Some(json!({"status": "succeeded", "message": "Done.", "tool_calls": []})),
        cancel_requested: false,
        cancel_accepted: false,
        seen: Seen::default(),
    };
    let run = |position: usize| {
        let seq = 1 + 2 * i64::try_from(position).unwrap();
        Run {
            id: Uuid::from_u128(10 + position as u128),
            user: USER,
            conversation: CONVERSATION,
            seq,
            status: "succeeded".to_owned(),
            reason: None,
            requests: vec![(seq, format!("text {position}"))],
            replies: vec![(seq + 1, "Done.".to_owned(), json!([]))],
        }
    };
    let state = StoredState {
        runs: [run(0), run(1)].into_iter().map(|run| (run.id, run)).collect(),
        tasks: [("milk".to_owned(), vec![USER])].into(),
        added: [("milk".to_owned(), vec![Uuid::from_u128(10)])].into(),
        writes_without_lease: Vec::new(),
        parallel_runs: Vec::new(),
        shared_keys: Vec::new(),
        extra_attempts: 0,
        approved_calls: 0,
    };
    (state, vec![sent(0), sent(1)])
}

/// The violations after a change.
fn violations_after(change: impl FnOnce(&mut StoredState, &mut Vec<Sent>)) -> Vec<&'static str> {
    let (mut state, mut sent) = correct_state();
    change(&mut state, &mut sent);
    let record = Record::default();
    for sent in sent {
        record.add(sent);
    }
    check(&state, &record);
    record
        .violations()
        .into_iter()
        .map(|violation| violation.guarantee)
        .collect()
}

fn first(state: &mut StoredState) -> &mut Run {
    state.runs.get_mut(&Uuid::from_u128(10)).unwrap()
}

#[test]
fn a_correct_state_has_no_violation() {
    assert!(violations_after(|_, _| {}).is_empty());
}

#[test]
fn a_lost_message_is_reported() {
    let lost = violations_after(|state, _| drop(state.runs.remove(&Uuid::from_u128(11))));
    assert_eq!(lost, ["an accepted message is stored"]);
}

#[test]
fn a_message_stored_twice_is_reported() {
    let twice = violations_after(|state, _| first(state).requests = vec![(1, "text 1".to_owned())]);
    assert!(twice.contains(&"a message is stored once"), "{twice:?}");
}

#[test]
fn a_message_that_was_not_sent_is_reported() {
    let strange = violations_after(|_, sent| drop(sent.pop()));
    assert_eq!(strange, ["every stored message was sent"]);
}

#[test]
fn an_open_run_is_reported() {
    let stuck = violations_after(|state, sent| {
        first(state).status = "running".to_owned();
        first(state).replies.clear();
        sent[0].answer = None;
    });
    assert_eq!(stuck, ["every run finishes"]);
}

#[test]
fn a_second_reply_is_reported() {
    let doubled = violations_after(|state, _| first(state).replies.push((5, "Done.".to_owned(), json!([]))));
    assert_eq!(doubled, ["a succeeded run has one reply, any other run none"]);
}

#[test]
fn a_response_that_differs_from_the_stored_reply_is_reported() {
    let other =
        violations_after(|_, sent| sent[1].answer = Some(json!({"status": "succeeded", "message": "Hm."})));
    assert_eq!(other, ["a response matches the stored run"]);
}

#[test]
fn a_tool_call_that_took_effect_twice_is_reported() {
    let twice = violations_after(|state, _| state.tasks.get_mut("milk").unwrap().push(USER));
    assert_eq!(
        twice,
        [
            "a tool call takes effect once",
            "a tool's effect is committed with its call"
        ]
    );
    let lost = violations_after(|state, _| state.tasks.clear());
    assert_eq!(lost, ["a tool's effect is committed with its call"]);
}

#[test]
fn data_of_another_user_is_reported() {
    let run = violations_after(|state, _| first(state).user = OTHER);
    assert_eq!(run, ["users see only their own data"]);
    let task = violations_after(|state, _| state.tasks.get_mut("milk").unwrap()[0] = OTHER);
    assert_eq!(task, ["users see only their own data"]);
}

#[test]
fn a_wrong_order_is_reported() {
    let messages = violations_after(|_, sent| {
        sent[0].position = 1;
        sent[1].position = 0;
    });
    assert_eq!(
        messages,
        [
            "messages are stored in the order they were sent",
            "replies are stored in the order of their messages"
        ]
    );
    let replies = violations_after(|state, _| first(state).replies[0].0 = 5);
    assert_eq!(replies, ["replies are stored in the order of their messages"]);
}

#[test]
fn cancellations_are_compared_with_their_responses() {
    let ignored = violations_after(|_, sent| sent[0].cancel_accepted = true);
    assert_eq!(ignored, ["a run whose cancellation was accepted is cancelled"]);
    let unasked = violations_after(|state, sent| {
        first(state).status = "cancelled".to_owned();
        first(state).replies.clear();
        sent[0].answer = None;
    });
    assert_eq!(unasked, ["no run is cancelled without a request"]);
}

#[test]
fn violations_found_by_sql_are_reported() {
    let shown = violations_after(|state, _| {
        state.writes_without_lease.push("run 1".to_owned());
        state.parallel_runs.push("runs 1 and 2".to_owned());
        state.shared_keys.push("key 1".to_owned());
    });
    assert_eq!(
        shown,
        [
            "a conversation has one running run at a time",
            "an idempotency key has one run",
            "only the worker with the lease writes"
        ]
    );
}
