//! A run whose last step was journalled before its calls were made.

use errand_agent::{Action, AgentRun, JournalledStep, Limits, PlannedCall};
use serde_json::{Map, json};

use crate::build::{calls, messages, past, prompt, text, tool, user};

fn left(index: u16, id: &str) -> PlannedCall {
    PlannedCall {
        index,
        id: id.to_owned(),
        name: "add_task".to_owned(),
        arguments: Ok(Map::from_iter([("title".to_owned(), json!("milk"))])),
    }
}

fn resumed(limits: Limits, journal: Vec<JournalledStep>) -> AgentRun {
    AgentRun::new(limits, prompt(), Vec::new(), "go".to_owned(), journal)
}

#[test]
fn calls_that_are_left_are_made_before_the_model_is_asked_again() {
    let journal = vec![
        JournalledStep {
            step: 0,
            content: String::new(),
            calls: vec![past(0, "first", "1")],
            open: Vec::new(),
        },
        JournalledStep {
            step: 1,
            content: "These three.".to_owned(),
            calls: vec![past(1, "b", "2")],
            open: vec![left(0, "a"), left(2, "c")],
        },
    ];
    let mut run = resumed(Limits::default(), journal);
    let Action::CallTools { step: 1, calls: made } = run.next() else {
        panic!("{:?}", run.next())
    };
    assert_eq!(made, [left(0, "a"), left(2, "c")]);
    run.tools_finished(vec!["3".to_owned(), "4".to_owned()]);
    assert_eq!(
        messages(&run)[1..],
        [
            user("go"),
            calls("", &["first"]),
            tool("first", "1"),
            calls("These three.", &["a", "b", "c"]),
            tool("b", "2"),
            tool("a", "3"),
            tool("c", "4"),
        ]
    );
    assert_eq!(run.step(), 2, "the journal's steps are not asked again");
    run.model_answered(text("Done."));
    assert_eq!(run.next(), Action::Reply { text: "Done." });
}

#[test]
fn calls_that_are_left_are_answered_even_where_no_more_may_be_asked() {
    let limits = Limits {
        max_steps: 1,
        max_calls: 2,
        ..Limits::default()
    };
    let journal = vec![JournalledStep {
        step: 0,
        content: String::new(),
        calls: Vec::new(),
        open: vec![left(0, "a"), left(1, "b")],
    }];
    let mut run = resumed(limits, journal);
    assert!(matches!(run.next(), Action::CallTools { step: 0, .. }));
    run.tools_finished(vec!["1".to_owned(), "2".to_owned()]);
    assert_eq!(messages(&run).len(), 5);
}

#[test]
fn what_was_left_of_a_step_that_is_not_the_last_is_not_shown() {
    let journal = vec![
        JournalledStep {
            step: 0,
            content: "Lost.".to_owned(),
            calls: Vec::new(),
            open: vec![left(0, "a")],
        },
        JournalledStep {
            step: 1,
            content: String::new(),
            calls: vec![past(1, "b", "1")],
            open: Vec::new(),
        },
    ];
    let run = resumed(Limits::default(), journal);
    assert_eq!(
        messages(&run)[1..],
        [user("go"), calls("", &["b"]), tool("b", "1")]
    );
}
