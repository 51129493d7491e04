//! Each promise, broken by hand in a small book: the comparison must name it, and nothing else.

use serde_json::json;

use super::*;
use crate::reader::Seen;

const WHO: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const CONVERSATION: Uuid = Uuid::from_u128(3);

/// Two messages of a conversation that went well; the first asked for a task.
fn story() -> (Book, Vec<Sent>) {
    let sent = |place: usize| Sent {
        user: WHO,
        text: format!("text {place}"),
        task: (place == 0).then(|| "milk".to_owned()),
        key: format!("key {place}"),
        agent: None,
        conversation: Some(CONVERSATION),
        place,
        run: Some(Uuid::from_u128(10 + place as u128)),
        answer: Some(json!({"status": "succeeded", "message": "Done.", "tool_calls": []})),
        cancel_asked: false,
        cancel_accepted: false,
        seen: Seen::default(),
    };
    let run = |place: usize| {
        let seq = 1 + 2 * i64::try_from(place).unwrap();
        Run {
            id: Uuid::from_u128(10 + place as u128),
            user: WHO,
            conversation: CONVERSATION,
            seq,
            status: "succeeded".to_owned(),
            reason: None,
            asked: vec![(seq, format!("text {place}"))],
            replies: vec![(seq + 1, "Done.".to_owned(), json!([]))],
        }
    };
    let book = Book {
        runs: [run(0), run(1)].into_iter().map(|run| (run.id, run)).collect(),
        tasks: [("milk".to_owned(), vec![WHO])].into(),
        added: [("milk".to_owned(), vec![Uuid::from_u128(10)])].into(),
        unfenced: Vec::new(),
        at_once: Vec::new(),
        doubled_keys: Vec::new(),
        tools_again: 0,
        consented: 0,
    };
    (book, vec![sent(0), sent(1)])
}

/// What is reported once the story has been changed.
fn found(change: impl FnOnce(&mut Book, &mut Vec<Sent>)) -> Vec<&'static str> {
    let (mut book, mut sent) = story();
    change(&mut book, &mut sent);
    let record = Record::default();
    for sent in sent {
        record.sent(sent);
    }
    check(&book, &record);
    record
        .violations()
        .into_iter()
        .map(|violation| violation.what)
        .collect()
}

fn first(book: &mut Book) -> &mut Run {
    book.runs.get_mut(&Uuid::from_u128(10)).unwrap()
}

#[test]
fn a_story_that_went_well_breaks_nothing() {
    assert!(found(|_, _| {}).is_empty());
}

#[test]
fn a_lost_message_is_reported() {
    let lost = found(|book, _| drop(book.runs.remove(&Uuid::from_u128(11))));
    assert_eq!(lost, ["a promised message is stored"]);
}

#[test]
fn a_message_stored_twice_is_reported() {
    let twice = found(|book, _| first(book).asked = vec![(1, "text 1".to_owned())]);
    assert!(twice.contains(&"a message is stored once"), "{twice:?}");
}

#[test]
fn what_nobody_sent_is_reported() {
    let strange = found(|_, sent| drop(sent.pop()));
    assert_eq!(strange, ["nothing is stored that nobody sent"]);
}

#[test]
fn a_stuck_run_is_reported() {
    let stuck = found(|book, sent| {
        first(book).status = "running".to_owned();
        first(book).replies.clear();
        sent[0].answer = None;
    });
    assert_eq!(stuck, ["every run ends"]);
}

#[test]
fn a_second_reply_is_reported() {
    let doubled = found(|book, _| first(book).replies.push((5, "Done.".to_owned(), json!([]))));
    assert_eq!(doubled, ["a succeeded run has one reply, another none"]);
}

#[test]
fn an_answer_that_is_not_the_stored_one_is_reported() {
    let other = found(|_, sent| sent[1].answer = Some(json!({"status": "succeeded", "message": "Hm."})));
    assert_eq!(other, ["an answer is what is stored"]);
}

#[test]
fn a_tool_that_acted_twice_is_reported() {
    let twice = found(|book, _| book.tasks.get_mut("milk").unwrap().push(WHO));
    assert_eq!(twice, ["a tool acts once", "an effect commits with its call"]);
    let lost = found(|book, _| book.tasks.clear());
    assert_eq!(lost, ["an effect commits with its call"]);
}

#[test]
fn anothers_data_is_reported() {
    let run = found(|book, _| first(book).user = OTHER);
    assert_eq!(run, ["nobody has another's data"]);
    let task = found(|book, _| book.tasks.get_mut("milk").unwrap()[0] = OTHER);
    assert_eq!(task, ["nobody has another's data"]);
}

#[test]
fn a_wrong_order_is_reported() {
    let messages = found(|_, sent| {
        sent[0].place = 1;
        sent[1].place = 0;
    });
    assert_eq!(
        messages,
        [
            "messages stand in the order they were sent",
            "replies stand in the order of their messages"
        ]
    );
    let replies = found(|book, _| first(book).replies[0].0 = 5);
    assert_eq!(replies, ["replies stand in the order of their messages"]);
}

#[test]
fn cancels_are_held_to_what_was_said() {
    let ignored = found(|_, sent| sent[0].cancel_accepted = true);
    assert_eq!(ignored, ["what is cancelled with 202 is cancelled"]);
    let unasked = found(|book, sent| {
        first(book).status = "cancelled".to_owned();
        first(book).replies.clear();
        sent[0].answer = None;
    });
    assert_eq!(unasked, ["nothing is cancelled unasked"]);
}

#[test]
fn what_the_database_shows_is_reported() {
    let shown = found(|book, _| {
        book.unfenced.push("run 1".to_owned());
        book.at_once.push("runs 1 and 2".to_owned());
        book.doubled_keys.push("key 1".to_owned());
    });
    assert_eq!(
        shown,
        [
            "a worker without the lease writes nothing",
            "one key, one run",
            "runs of a conversation go one at a time"
        ]
    );
}
