//! What each kind of answer leads to.

use errand_agent::{
    Action, AgentFailure, AgentRun, FinishReason, JournalledStep, Limits, Message, ModelAnswer, PastCall,
    Usage,
};
use serde_json::{Value, json};

use crate::build::{asks, calls, fresh, messages, past, prompt, text, tool, user};

/// Content, refusal and finish reason of an answer, and what it comes to.
type Ending<'a> = (
    &'a str,
    Option<&'a str>,
    FinishReason,
    Result<&'a str, AgentFailure>,
);

#[test]
fn a_run_goes_from_question_over_tools_to_reply() {
    let mut run = fresh(Limits::default());
    assert_eq!(messages(&run)[1..], [user("add milk")]);
    assert!(matches!(messages(&run)[0], Message::System { .. }));

    let mut answer = asks(&[("a", "add_task", r#"{"title":"milk"}"#)]);
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
    assert_eq!(run.said(), "On it.");

    run.tools_finished(vec![r#"{"success":true}"#.to_owned()]);
    assert_eq!(run.said(), "");
    assert_eq!(
        messages(&run)[1..],
        [
            user("add milk"),
            calls("On it.", &["a"]),
            tool("a", r#"{"success":true}"#)
        ]
    );

    run.model_answered(text("Added milk."));
    assert_eq!(run.next(), Action::Reply { text: "Added milk." });
    assert_eq!(
        run.usage(),
        Usage {
            prompt_tokens: 20,
            completion_tokens: 6
        }
    );
    assert_eq!(run.usage().total(), 26);
    assert_eq!(run.model(), "m-1");
    assert_eq!(run.step(), 2);
}

#[test]
fn an_answer_without_calls_is_the_reply_or_the_failure() {
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
fn calls_are_honoured_whatever_the_finish_reason_says() {
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
            ..asks(&[("a", "add_task", "{}")])
        });
        assert!(matches!(run.next(), Action::CallTools { .. }), "{finish:?}");
    }
}

#[test]
fn a_cut_off_call_is_refused_and_the_model_is_told() {
    let mut run = fresh(Limits::default());
    let answer = asks(&[
        ("a", "add_task", r#"{"title":"milk"}"#),
        ("b", "add_task", r#"{"title":"br"#),
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
fn the_step_limit_ends_the_run_without_calling_the_last_tools() {
    let mut run = fresh(Limits {
        max_steps: 3,
        ..Limits::default()
    });
    for step in 0..2 {
        run.model_answered(asks(&[("", "list_tasks", "{}")]));
        assert!(matches!(run.next(), Action::CallTools { step: at, .. } if at == step));
        run.tools_finished(vec!["{}".to_owned()]);
    }
    run.model_answered(asks(&[("", "list_tasks", "{}")]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
    let reason = AgentFailure::ToolLoopLimit.to_string();
    assert!(reason.contains("tool-loop limit"), "{reason}");
}

#[test]
fn the_last_step_may_still_be_a_reply() {
    let mut run = fresh(Limits {
        max_steps: 1,
        ..Limits::default()
    });
    run.model_answered(text("Hi"));
    assert_eq!(run.next(), Action::Reply { text: "Hi" });
}

#[test]
fn no_steps_at_all_is_a_failure() {
    let run = fresh(Limits {
        max_steps: 0,
        ..Limits::default()
    });
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn the_call_limit_counts_every_call_of_the_run_also_the_journalled_and_the_refused() {
    let limits = Limits {
        max_calls: 4,
        max_calls_per_step: 2,
        ..Limits::default()
    };
    let journal = vec![JournalledStep {
        step: 0,
        content: String::new(),
        calls: vec![past(0, "j", "{}")],
    }];
    let mut run = AgentRun::new(limits, &prompt(), Vec::new(), "go".to_owned(), journal);
    run.model_answered(asks(&[("a", "t", "{}"), ("b", "t", "{}"), ("c", "t", "{}")]));
    let Action::CallTools { calls: planned, .. } = run.next() else {
        panic!()
    };
    assert_eq!(planned.iter().filter(|call| call.arguments.is_err()).count(), 1);
    run.tools_finished(vec!["{}".to_owned(); 3]);
    run.model_answered(asks(&[("d", "t", "{}")]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn a_flood_of_calls_fails_the_run_and_nothing_else() {
    let mut run = fresh(Limits {
        max_calls: usize::MAX,
        ..Limits::default()
    });
    run.model_answered(asks(&vec![("a", "t", "{}"); 70_000]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn ids_are_unique_over_the_whole_run() {
    let journal = vec![JournalledStep {
        step: 0,
        content: "First.".to_owned(),
        calls: vec![past(0, "call_1", "1"), past(0, "call_2", "2")],
    }];
    let mut run = AgentRun::new(Limits::default(), &prompt(), Vec::new(), "go".to_owned(), journal);
    assert_eq!(
        messages(&run)[1..],
        [
            user("go"),
            calls("First.", &["call_1", "call_2"]),
            tool("call_1", "1"),
            tool("call_2", "2")
        ]
    );
    run.model_answered(asks(&[
        ("call_1", "t", "{}"),
        ("call_1", "t", "{}"),
        ("new", "t", "{}"),
    ]));
    let Action::CallTools {
        step: 1,
        calls: planned,
    } = run.next()
    else {
        panic!()
    };
    let ids: Vec<&str> = planned.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call_1_0", "call_1_1", "new"]);
}

#[test]
fn a_journal_is_replayed_as_the_run_was() {
    let mut first = fresh(Limits::default());
    first.model_answered(ModelAnswer {
        content: "On it.".to_owned(),
        ..asks(&[
            ("a", "add_task", r#"{"title":"milk"}"#),
            ("b", "add_task", "broken"),
        ])
    });
    let Action::CallTools { step, calls: planned } = first.next() else {
        panic!()
    };
    let past: Vec<PastCall> = planned
        .iter()
        .map(|call| PastCall {
            step,
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.journal_arguments(),
            result: call.refusal().unwrap_or_else(|| "{}".to_owned()),
        })
        .collect();
    let journal = vec![JournalledStep {
        step,
        content: first.said().to_owned(),
        calls: past.clone(),
    }];
    first.tools_finished(past.into_iter().map(|call| call.result).collect());

    let again = AgentRun::new(
        Limits::default(),
        &prompt(),
        Vec::new(),
        "add milk".to_owned(),
        journal,
    );
    assert_eq!(messages(&again), messages(&first));
    assert_eq!(again.step(), first.step());
}

#[test]
fn a_full_journal_fails_at_once() {
    let journal = vec![JournalledStep {
        step: 9,
        content: String::new(),
        calls: vec![past(9, "a", "{}")],
    }];
    let run = AgentRun::new(Limits::default(), &prompt(), Vec::new(), "go".to_owned(), journal);
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn what_comes_at_the_wrong_time_is_ignored() {
    let mut run = fresh(Limits::default());
    run.tools_finished(vec!["{}".to_owned()]);
    assert_eq!(messages(&run).len(), 2);
    run.model_answered(asks(&[("a", "t", "{}")]));
    run.model_answered(text("too early"));
    assert!(matches!(run.next(), Action::CallTools { .. }));
    run.tools_finished(vec!["{}".to_owned()]);
    run.model_answered(text("Done."));
    run.model_answered(text("Done again."));
    assert_eq!(run.next(), Action::Reply { text: "Done." });
    assert_eq!(run.step(), 2);
}

#[test]
fn every_call_is_answered_however_many_results_come() {
    for (given, expected) in [(0, "INTERNAL_ERROR"), (1, "INTERNAL_ERROR"), (2, "{}"), (3, "{}")] {
        let mut run = fresh(Limits::default());
        run.model_answered(asks(&[("a", "t", "{}"), ("b", "t", "{}")]));
        run.tools_finished(vec!["{}".to_owned(); given]);
        let shown = messages(&run);
        assert_eq!(shown.len(), 5);
        let Some(Message::Tool { content, .. }) = shown.last() else {
            panic!()
        };
        assert!(content.contains(expected), "{given}: {content}");
    }
}

#[test]
fn a_large_result_is_shown_by_its_beginning() {
    let limits = Limits {
        max_result_bytes: 1_000,
        ..Limits::default()
    };
    for large in ["\"".repeat(1_001), "🦀".repeat(400), "x".repeat(100_000)] {
        let mut run = fresh(limits);
        run.model_answered(asks(&[("a", "t", "{}")]));
        run.tools_finished(vec![large.clone()]);
        let Some(Message::Tool { content, .. }) = messages(&run).pop() else {
            panic!()
        };
        assert!(content.len() <= 1_000, "{}", content.len());
        let parsed: Value = serde_json::from_str(&content).unwrap();
        assert_eq!(parsed["truncated"], json!(true));
        let beginning = parsed["beginning"].as_str().unwrap();
        assert!(large.starts_with(beginning) && beginning.len() > 300);
    }
}
