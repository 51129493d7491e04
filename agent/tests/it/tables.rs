//! The action that follows each kind of answer.

use errand_agent::{Action, AgentFailure, FinishReason, Limits, Message, ModelAnswer, Usage};
use serde_json::{Value, json};

use crate::build::{calling, calls, fresh, messages, result, text, user};

/// Content, refusal and finish reason of an answer, and the expected end of the run.
type Ending<'a> = (
    &'a str,
    Option<&'a str>,
    FinishReason,
    Result<&'a str, AgentFailure>,
);

#[test]
fn run_calls_model_then_tools_then_replies() {
    let mut run = fresh(Limits::default());
    assert_eq!(messages(&run)[1..], [user("add milk")]);
    assert!(matches!(messages(&run)[0], Message::System(_)));

    let mut answer = calling(&[("a", "measure", r#"{"title":"milk"}"#)]);
    answer.content = "On it.\0".to_owned();
    run.model_answered(answer);
    let Action::CallTools {
        step: 0,
        calls: planned,
    } = run.next()
    else {
        panic!()
    };
    assert_eq!(planned.len(), 1);
    assert_eq!(
        planned[0].arguments.clone().map(Value::Object),
        Ok(json!({"title": "milk"}))
    );
    assert_eq!(run.content(), "On it.");

    run.tools_finished(vec![r#"{"success":true}"#.to_owned()]);
    assert_eq!(run.content(), "");
    assert_eq!(
        messages(&run)[1..],
        [
            user("add milk"),
            calls("On it.", &["a"]),
            result("a", r#"{"success":true}"#)
        ]
    );

    run.model_answered(text("Added milk."));
    assert_eq!(run.next(), Action::Reply { text: "Added milk." });
    assert_eq!(
        run.usage(),
        Usage {
            prompt_tokens: 20,
            completion_tokens: 6,
            is_estimated: false,
        }
    );
    assert_eq!(run.usage().total(), 26);
    assert_eq!(run.model(), "m-1");
    assert_eq!(run.step(), 2);
}

#[test]
fn answer_without_calls_ends_the_run() {
    let cut = "\n\n(The answer was cut off here because it reached its length limit.)";
    let cut_hi = format!("Hi{cut}");
    let cases: [Ending<'_>; 14] = [
        ("Hi", None, FinishReason::Stop, Ok("Hi")),
        ("H\0i", None, FinishReason::Stop, Ok("Hi")),
        ("Hi", None, FinishReason::ToolCalls, Ok("Hi")),
        ("Hi", None, FinishReason::Other("eos".to_owned()), Ok("Hi")),
        ("Hi", None, FinishReason::Length, Ok(&cut_hi)),
        ("", None, FinishReason::Length, Err(AgentFailure::NoRoomToAnswer)),
        ("", None, FinishReason::Stop, Err(AgentFailure::EmptyAnswer)),
        (" \n", None, FinishReason::Stop, Err(AgentFailure::EmptyAnswer)),
        (
            "\0",
            Some(" "),
            FinishReason::ToolCalls,
            Err(AgentFailure::EmptyAnswer),
        ),
        (
            "",
            Some("I can't help with that."),
            FinishReason::Stop,
            Ok("I can't help with that."),
        ),
        (
            "Well.",
            Some("I can't."),
            FinishReason::Stop,
            Ok("Well.\n\nI can't."),
        ),
        (
            "",
            Some("I can't."),
            FinishReason::ContentFilter,
            Err(AgentFailure::ContentFilter),
        ),
        (
            "Half an ans",
            None,
            FinishReason::ContentFilter,
            Err(AgentFailure::ContentFilter),
        ),
        (
            "",
            None,
            FinishReason::ContentFilter,
            Err(AgentFailure::ContentFilter),
        ),
    ];
    for (content, refusal, finish, expected) in cases {
        let mut run = fresh(Limits::default());
        let case = format!("{content:?} {refusal:?} {finish:?}");
        run.model_answered(ModelAnswer {
            refusal: refusal.map(str::to_owned),
            finish,
            ..text(content)
        });
        match (run.next(), expected) {
            (Action::Reply { text }, Ok(want)) => assert_eq!(text, want, "{case}"),
            (Action::Fail(failure), Err(want)) => assert_eq!(*failure, want, "{case}"),
            (got, want) => panic!("{case}: got {got:?}, want {want:?}"),
        }
    }
}

#[test]
fn calls_are_executed_whatever_the_finish_reason() {
    let reasons = [
        FinishReason::Stop,
        FinishReason::Length,
        FinishReason::ToolCalls,
        FinishReason::ContentFilter,
        FinishReason::Other("function_call".to_owned()),
    ];
    for finish in reasons {
        let mut run = fresh(Limits::default());
        run.model_answered(ModelAnswer {
            finish: finish.clone(),
            ..calling(&[("a", "measure", "{}")])
        });
        assert!(matches!(run.next(), Action::CallTools { .. }), "{finish:?}");
    }
}

#[test]
fn cut_off_call_is_refused_with_a_reason() {
    let mut run = fresh(Limits::default());
    let answer = calling(&[
        ("a", "measure", r#"{"title":"milk"}"#),
        ("b", "measure", r#"{"title":"br"#),
    ]);
    run.model_answered(ModelAnswer {
        finish: FinishReason::Length,
        ..answer
    });
    let Action::CallTools { calls: planned, .. } = run.next() else {
        panic!()
    };
    assert!(planned[0].arguments.is_ok());
    assert!(planned[1].arguments.is_err());
    let results = vec!["{}".to_owned(), planned[1].refusal().unwrap()];
    run.tools_finished(results);
    let Some(Message::Tool {
        tool_call_id,
        content,
    }) = messages(&run).pop()
    else {
        panic!()
    };
    assert_eq!(tool_call_id, "b");
    assert!(
        content.contains("VALIDATION_ERROR") && content.contains("cut off"),
        "{content}"
    );
}

#[test]
fn unexpected_input_is_ignored() {
    let mut run = fresh(Limits::default());
    run.tools_finished(vec!["{}".to_owned()]);
    assert_eq!(messages(&run).len(), 2);
    run.model_answered(calling(&[("a", "t", "{}")]));
    run.model_answered(text("too early"));
    assert!(matches!(run.next(), Action::CallTools { .. }));
    run.tools_finished(vec!["{}".to_owned()]);
    run.model_answered(text("Done."));
    run.model_answered(text("Done again."));
    assert_eq!(run.next(), Action::Reply { text: "Done." });
    assert_eq!(run.step(), 2);
}

#[test]
fn every_call_gets_exactly_one_result() {
    for (given, expected) in [(0, "INTERNAL_ERROR"), (1, "INTERNAL_ERROR"), (2, "{}"), (3, "{}")] {
        let mut run = fresh(Limits::default());
        run.model_answered(calling(&[("a", "t", "{}"), ("b", "t", "{}")]));
        run.tools_finished(vec!["{}".to_owned(); given]);
        let shown = messages(&run);
        assert_eq!(shown.len(), 5);
        let Some(Message::Tool { content, .. }) = shown.last() else {
            panic!()
        };
        assert!(content.contains(expected), "{given}: {content}");
    }
}
