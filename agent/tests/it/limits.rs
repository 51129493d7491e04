//! The limits of a run, and how earlier attempts count towards them.

use errand_agent::{
    Action, AgentFailure, AgentRun, JournalledStep, Limits, Message, ModelAnswer, RecordedCall,
};
use serde_json::{Value, json};

use crate::build::{calling, calls, fresh, messages, prompt, recorded, result, text, user};

#[test]
fn step_limit_fails_the_run_without_executing_the_last_calls() {
    let mut run = fresh(Limits {
        max_steps: 3,
        ..Limits::default()
    });
    for step in 0..2 {
        run.model_answered(calling(&[("", "measure", "{}")]));
        assert!(matches!(run.next(), Action::CallTools { step: at, .. } if at == step));
        run.tools_finished(vec!["{}".to_owned()]);
    }
    run.model_answered(calling(&[("", "measure", "{}")]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
    let reason = AgentFailure::ToolLoopLimit.to_string();
    assert!(reason.contains("tool-loop limit"), "{reason}");
}

#[test]
fn last_step_may_reply() {
    let mut run = fresh(Limits {
        max_steps: 1,
        ..Limits::default()
    });
    run.model_answered(text("Hi"));
    assert_eq!(run.next(), Action::Reply { text: "Hi" });
}

#[test]
fn zero_steps_fail_the_run() {
    let run = fresh(Limits {
        max_steps: 0,
        ..Limits::default()
    });
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn call_limit_includes_recorded_and_refused_calls() {
    let limits = Limits {
        max_calls: 4,
        max_calls_per_step: 2,
        ..Limits::default()
    };
    let journal = vec![JournalledStep {
        pending: Vec::new(),
        step: 0,
        content: String::new(),
        provider_data: None,
        calls: vec![recorded(0, "j", "{}")],
    }];
    let mut run = AgentRun::new(limits, prompt(), Vec::new(), "go".to_owned(), journal);
    run.model_answered(calling(&[("a", "t", "{}"), ("b", "t", "{}"), ("c", "t", "{}")]));
    let Action::CallTools { calls: planned, .. } = run.next() else {
        panic!()
    };
    assert_eq!(planned.iter().filter(|call| call.arguments.is_err()).count(), 1);
    run.tools_finished(vec!["{}".to_owned(); 3]);
    run.model_answered(calling(&[("d", "t", "{}")]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn huge_number_of_calls_fails_the_run() {
    let mut run = fresh(Limits {
        max_calls: usize::MAX,
        ..Limits::default()
    });
    run.model_answered(calling(&vec![("a", "t", "{}"); 70_000]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn call_ids_are_unique_in_the_run() {
    let journal = vec![JournalledStep {
        pending: Vec::new(),
        step: 0,
        content: "First.".to_owned(),
        provider_data: None,
        calls: vec![recorded(0, "call_1", "1"), recorded(0, "call_2", "2")],
    }];
    let mut run = AgentRun::new(Limits::default(), prompt(), Vec::new(), "go".to_owned(), journal);
    assert_eq!(
        messages(&run)[1..],
        [
            user("go"),
            calls("First.", &["call_1", "call_2"]),
            result("call_1", "1"),
            result("call_2", "2")
        ]
    );
    run.model_answered(calling(&[
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
fn journal_restores_the_transcript() {
    let mut first = fresh(Limits::default());
    first.model_answered(ModelAnswer {
        content: "On it.".to_owned(),
        ..calling(&[
            ("a", "measure", r#"{"title":"milk"}"#),
            ("b", "measure", "broken"),
        ])
    });
    let Action::CallTools { step, calls: planned } = first.next() else {
        panic!()
    };
    let recorded: Vec<RecordedCall> = planned
        .iter()
        .map(|call| RecordedCall {
            step,
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.journal_arguments(),
            result: call.refusal().unwrap_or_else(|| "{}".to_owned()),
        })
        .collect();
    let journal = vec![JournalledStep {
        pending: Vec::new(),
        step,
        content: first.content().to_owned(),
        provider_data: None,
        calls: recorded.clone(),
    }];
    first.tools_finished(recorded.into_iter().map(|call| call.result).collect());

    let resumed = AgentRun::new(
        Limits::default(),
        prompt(),
        Vec::new(),
        "add milk".to_owned(),
        journal,
    );
    assert_eq!(messages(&resumed), messages(&first));
    assert_eq!(resumed.step(), first.step());
}

#[test]
fn step_limit_applies_per_attempt() {
    let limits = Limits {
        max_steps: 1,
        ..Limits::default()
    };
    let journal = vec![JournalledStep {
        pending: Vec::new(),
        step: 9,
        content: String::new(),
        provider_data: None,
        calls: vec![recorded(9, "a", "{}")],
    }];
    let mut run = AgentRun::new(limits, prompt(), Vec::new(), "go".to_owned(), journal);
    assert_eq!(run.step(), 10);
    run.model_answered(calling(&[("b", "measure", "{}")]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
}

#[test]
fn large_result_is_truncated() {
    let limits = Limits {
        max_result_bytes: 1_000,
        ..Limits::default()
    };
    for large in ["\"".repeat(1_001), "🦀".repeat(400), "x".repeat(100_000)] {
        let mut run = fresh(limits);
        run.model_answered(calling(&[("a", "t", "{}")]));
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
