//! What the model is shown of earlier turns.

use errand_agent::{Limits, Message, Turn, TurnOutcome};

use crate::build::{calls, messages, past, says, tool, turn, user, with_history};

#[test]
fn history_is_told_turn_by_turn() {
    let cases: Vec<(Turn, Vec<Message>)> = vec![
        (
            turn("hi", vec![], Some("Hello."), TurnOutcome::Succeeded),
            vec![user("hi"), says("Hello.")],
        ),
        (
            turn(
                "add",
                vec![past(0, "a", "1"), past(0, "b", "2"), past(1, "c", "3")],
                Some("Done."),
                TurnOutcome::Succeeded,
            ),
            vec![
                user("add"),
                calls("", &["a", "b"]),
                tool("a", "1"),
                tool("b", "2"),
                calls("", &["c"]),
                tool("c", "3"),
                says("Done."),
            ],
        ),
        (
            turn("add", vec![past(0, "a", "1")], None, TurnOutcome::Cancelled),
            vec![
                user("add"),
                calls("", &["a"]),
                tool("a", "1"),
                says("[That run was cancelled after these calls.]"),
            ],
        ),
        (
            turn("add", vec![past(0, "a", "1")], None, TurnOutcome::Failed),
            vec![
                user("add"),
                calls("", &["a"]),
                tool("a", "1"),
                says("[That run failed after these calls.]"),
            ],
        ),
        (
            turn("add", vec![], None, TurnOutcome::Failed),
            vec![user("add"), says("[That run failed before it did anything.]")],
        ),
        (
            turn("add", vec![], None, TurnOutcome::Cancelled),
            vec![
                user("add"),
                says("[That run was cancelled before it did anything.]"),
            ],
        ),
        (
            turn(
                "add",
                vec![past(0, "x", "1"), past(0, "x", "2")],
                Some("?"),
                TurnOutcome::Succeeded,
            ),
            vec![
                user("add"),
                calls("", &["x", "call_0_1"]),
                tool("x", "1"),
                tool("call_0_1", "2"),
                says("?"),
            ],
        ),
    ];
    for (turn, expected) in cases {
        let run = with_history(Limits::default(), vec![turn.clone()]);
        let shown = messages(&run);
        assert_eq!(shown[1..shown.len() - 1], expected, "{turn:?}");
        assert_eq!(shown.last(), Some(&user("and now?")));
    }
}

#[test]
fn the_oldest_turns_are_dropped_whole() {
    let history: Vec<Turn> = (0..40)
        .map(|n| {
            turn(
                &format!("q{n}"),
                vec![past(0, "a", "{}")],
                Some("ok"),
                TurnOutcome::Succeeded,
            )
        })
        .collect();
    let run = with_history(Limits::default(), history);
    let shown = messages(&run);
    assert_eq!(
        shown.len(),
        1 + 48 + 1,
        "twelve turns of four messages fit into fifty"
    );
    assert_eq!(shown[1], user("q28"));
}

#[test]
fn tokens_bound_the_history_and_leave_no_gaps() {
    let limits = Limits {
        history_max_tokens: 300,
        ..Limits::default()
    };
    let short = |text: &str| turn(text, vec![], Some("ok"), TurnOutcome::Succeeded);
    let long = turn("long", vec![], Some(&"é".repeat(400)), TurnOutcome::Succeeded);
    let run = with_history(limits, vec![short("old"), long, short("new")]);
    let shown = messages(&run);
    assert_eq!(shown[1..], [user("new"), says("ok"), user("and now?")]);
}

#[test]
fn a_newest_turn_too_large_for_the_bounds_is_shown_without_its_calls() {
    let huge = turn(
        "list",
        vec![past(0, "a", &"x".repeat(100_000))],
        Some("1. milk"),
        TurnOutcome::Succeeded,
    );
    let run = with_history(Limits::default(), vec![huge]);
    assert_eq!(
        messages(&run)[1..],
        [
            user("list"),
            says("[The tool calls made here are too long to be shown again.]\n\n1. milk"),
            user("and now?")
        ]
    );
    let none = Limits {
        history_max_messages: 1,
        ..Limits::default()
    };
    let run = with_history(
        none,
        vec![turn("hi", vec![], Some("Hello."), TurnOutcome::Succeeded)],
    );
    assert_eq!(
        messages(&run).len(),
        2,
        "the prompt and the message are always shown"
    );
}
