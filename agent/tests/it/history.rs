//! Earlier turns in the transcript.

use errand_agent::{Limits, Message, Turn, TurnOutcome};

use crate::build::{assistant, calls, messages, recorded, result, turn, user, with_history};

#[test]
fn each_turn_becomes_messages() {
    let cases: Vec<(Turn, Vec<Message>)> = vec![
        (
            turn("hi", vec![], Some("Hello."), TurnOutcome::Succeeded),
            vec![user("hi"), assistant("Hello.")],
        ),
        (
            turn(
                "add",
                vec![
                    recorded(0, "a", "1"),
                    recorded(0, "b", "2"),
                    recorded(1, "c", "3"),
                ],
                Some("Done."),
                TurnOutcome::Succeeded,
            ),
            vec![
                user("add"),
                calls("", &["a", "b"]),
                result("a", "1"),
                result("b", "2"),
                calls("", &["c"]),
                result("c", "3"),
                assistant("Done."),
            ],
        ),
        (
            turn("add", vec![recorded(0, "a", "1")], None, TurnOutcome::Cancelled),
            vec![
                user("add"),
                calls("", &["a"]),
                result("a", "1"),
                assistant("[That run was cancelled after these calls.]"),
            ],
        ),
        (
            turn("add", vec![recorded(0, "a", "1")], None, TurnOutcome::Failed),
            vec![
                user("add"),
                calls("", &["a"]),
                result("a", "1"),
                assistant("[That run failed after these calls.]"),
            ],
        ),
        (
            turn("add", vec![], None, TurnOutcome::Failed),
            vec![
                user("add"),
                assistant("[That run failed before it did anything.]"),
            ],
        ),
        (
            turn("add", vec![], None, TurnOutcome::Cancelled),
            vec![
                user("add"),
                assistant("[That run was cancelled before it did anything.]"),
            ],
        ),
        (
            turn(
                "add",
                vec![recorded(0, "x", "1"), recorded(0, "x", "2")],
                Some("?"),
                TurnOutcome::Succeeded,
            ),
            vec![
                user("add"),
                calls("", &["x", "call_0_1"]),
                result("x", "1"),
                result("call_0_1", "2"),
                assistant("?"),
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
fn oldest_turns_are_dropped_entirely() {
    let history: Vec<Turn> = (0..40)
        .map(|n| {
            turn(
                &format!("q{n}"),
                vec![recorded(0, "a", "{}")],
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
        "twelve turns of four messages fit into 50 messages"
    );
    assert_eq!(shown[1], user("q28"));
}

#[test]
fn token_limit_drops_turns_without_gaps() {
    let limits = Limits {
        history_max_tokens: 300,
        ..Limits::default()
    };
    let short = |text: &str| turn(text, vec![], Some("ok"), TurnOutcome::Succeeded);
    let long = turn("long", vec![], Some(&"é".repeat(400)), TurnOutcome::Succeeded);
    let run = with_history(limits, vec![short("old"), long, short("new")]);
    let shown = messages(&run);
    assert_eq!(shown[1..], [user("new"), assistant("ok"), user("and now?")]);
}

#[test]
fn oversized_newest_turn_is_shown_without_calls() {
    let huge = turn(
        "list",
        vec![recorded(0, "a", &"x".repeat(100_000))],
        Some("1. milk"),
        TurnOutcome::Succeeded,
    );
    let run = with_history(Limits::default(), vec![huge]);
    assert_eq!(
        messages(&run)[1..],
        [
            user("list"),
            assistant("[The tool calls made here are too long to be shown again.]\n\n1. milk"),
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
        "the system prompt and the user's message are always shown"
    );
}
