//! Resuming a run whose last step has pending calls.

use errand_agent::{Action, AgentRun, JournalledStep, Limits, PlannedCall};
use serde_json::{Map, json};

use crate::build::{calls, messages, prompt, recorded, result, text, user, with_provider_data};

fn pending(index: u16, id: &str) -> PlannedCall {
    PlannedCall {
        index,
        id: id.to_owned(),
        name: "measure".to_owned(),
        arguments: Ok(Map::from_iter([("title".to_owned(), json!("milk"))])),
    }
}

fn resumed(limits: Limits, journal: Vec<JournalledStep>) -> AgentRun {
    AgentRun::new(limits, prompt(), Vec::new(), "go".to_owned(), journal)
}

#[test]
fn pending_calls_precede_the_next_model_call() {
    let journal = vec![
        JournalledStep {
            step: 0,
            content: String::new(),
            provider_data: None,
            calls: vec![recorded(0, "first", "1")],
            pending: Vec::new(),
        },
        JournalledStep {
            step: 1,
            content: "These three.".to_owned(),
            provider_data: Some(Box::new(json!({"reasoning": "Three."}))),
            calls: vec![recorded(1, "b", "2")],
            pending: vec![pending(0, "a"), pending(2, "c")],
        },
    ];
    let mut run = resumed(Limits::default(), journal);
    let Action::CallTools { step: 1, calls: next } = run.next() else {
        panic!("{:?}", run.next())
    };
    assert_eq!(next, [pending(0, "a"), pending(2, "c")]);
    run.tools_finished(vec!["3".to_owned(), "4".to_owned()]);
    assert_eq!(
        messages(&run)[1..],
        [
            user("go"),
            calls("", &["first"]),
            result("first", "1"),
            with_provider_data(
                calls("These three.", &["a", "b", "c"]),
                json!({"reasoning": "Three."})
            ),
            result("b", "2"),
            result("a", "3"),
            result("c", "4"),
        ]
    );
    assert_eq!(run.step(), 2, "recorded steps are not repeated");
    run.model_answered(text("Done."));
    assert_eq!(run.next(), Action::Reply { text: "Done." });
}

#[test]
fn pending_calls_are_executed_at_the_step_limit() {
    let limits = Limits {
        max_steps: 1,
        max_calls: 2,
        ..Limits::default()
    };
    let journal = vec![JournalledStep {
        step: 0,
        content: String::new(),
        provider_data: None,
        calls: Vec::new(),
        pending: vec![pending(0, "a"), pending(1, "b")],
    }];
    let mut run = resumed(limits, journal);
    assert!(matches!(run.next(), Action::CallTools { step: 0, .. }));
    run.tools_finished(vec!["1".to_owned(), "2".to_owned()]);
    assert_eq!(messages(&run).len(), 5);
}

#[test]
fn pending_calls_of_earlier_steps_are_not_shown() {
    let journal = vec![
        JournalledStep {
            step: 0,
            content: "Lost.".to_owned(),
            provider_data: None,
            calls: Vec::new(),
            pending: vec![pending(0, "a")],
        },
        JournalledStep {
            step: 1,
            content: String::new(),
            provider_data: None,
            calls: vec![recorded(1, "b", "1")],
            pending: Vec::new(),
        },
    ];
    let run = resumed(Limits::default(), journal);
    assert_eq!(
        messages(&run)[1..],
        [user("go"), calls("", &["b"]), result("b", "1")]
    );
}
