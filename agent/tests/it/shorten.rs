//! Transcripts that exceed the model's context window.

use errand_agent::{Limits, Message, TurnOutcome};

use crate::build::{assistant, calling, fresh, messages, recorded, result, turn, user, with_history};

fn users(shown: &[Message]) -> Vec<&str> {
    shown
        .iter()
        .filter_map(|message| match message {
            Message::User { content } => Some(content.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn older_half_of_the_history_is_removed() {
    let turns = ["1", "2", "3", "4", "5"].map(|name| {
        turn(
            name,
            vec![recorded(0, "a", "{}")],
            Some("Yes."),
            TurnOutcome::Succeeded,
        )
    });
    let mut run = with_history(Limits::default(), turns.to_vec());
    let mut before = run.estimated_tokens();
    for expected in [
        vec!["4", "5", "and now?"],
        vec!["5", "and now?"],
        vec!["and now?"],
    ] {
        assert!(run.shorten());
        assert_eq!(users(&messages(&run)), expected);
        assert!(run.estimated_tokens() < before);
        before = run.estimated_tokens();
    }
    assert!(!run.shorten(), "only the prompt and the user's message are left");
    assert_eq!(messages(&run).len(), 2);
}

#[test]
fn turns_are_kept_entirely() {
    let turns = vec![
        turn("1", Vec::new(), Some("Yes."), TurnOutcome::Succeeded),
        turn(
            "2",
            vec![recorded(0, "a", "{}")],
            Some("No."),
            TurnOutcome::Succeeded,
        ),
    ];
    let mut run = with_history(Limits::default(), turns);
    assert!(run.shorten());
    let shown = messages(&run);
    assert_eq!(shown.len(), 6);
    assert_eq!(shown[1], user("2"));
    assert_eq!(shown[4..], [assistant("No."), user("and now?")]);
}

#[test]
fn large_results_of_the_run_are_halved_when_there_is_no_history() {
    let mut run = fresh(Limits::default());
    run.model_answered(calling(&[("a", "measure", "{}"), ("b", "measure", "{}")]));
    run.tools_finished(vec!["1".to_owned(), format!("\"{}\"", "x".repeat(10_000))]);
    let mut lengths = Vec::new();
    while run.shorten() {
        let shown = messages(&run);
        assert_eq!(shown[3], result("a", "1"));
        let Message::Tool { content, .. } = &shown[4] else {
            panic!()
        };
        assert!(content.contains("\"truncated\":true"));
        lengths.push(content.len());
        assert!(lengths.len() <= 10, "{lengths:?}");
    }
    assert!(lengths.is_sorted_by(|a, b| a > b), "{lengths:?}");
    assert!(
        lengths.last().is_some_and(|length| *length <= 1024),
        "{lengths:?}"
    );
}
