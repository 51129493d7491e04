//! Where a run ends, and what an earlier attempt of it counts for.

use errand_agent::{Action, AgentFailure, AgentRun, JournalledStep, Limits, Message, ModelAnswer, PastCall};
use serde_json::{Value, json};

use crate::build::{asks, calls, fresh, messages, past, prompt, text, tool, user};

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
        open: Vec::new(),
        step: 0,
        content: String::new(),
        calls: vec![past(0, "j", "{}")],
    }];
    let mut run = AgentRun::new(limits, prompt(), Vec::new(), "go".to_owned(), journal);
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
        open: Vec::new(),
        step: 0,
        content: "First.".to_owned(),
        calls: vec![past(0, "call_1", "1"), past(0, "call_2", "2")],
    }];
    let mut run = AgentRun::new(Limits::default(), prompt(), Vec::new(), "go".to_owned(), journal);
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
        open: Vec::new(),
        step,
        content: first.said().to_owned(),
        calls: past.clone(),
    }];
    first.tools_finished(past.into_iter().map(|call| call.result).collect());

    let again = AgentRun::new(
        Limits::default(),
        prompt(),
        Vec::new(),
        "add milk".to_owned(),
        journal,
    );
    assert_eq!(messages(&again), messages(&first));
    assert_eq!(again.step(), first.step());
}

#[test]
fn each_attempt_has_its_own_steps() {
    let limits = Limits {
        max_steps: 1,
        ..Limits::default()
    };
    let journal = vec![JournalledStep {
        open: Vec::new(),
        step: 9,
        content: String::new(),
        calls: vec![past(9, "a", "{}")],
    }];
    let mut run = AgentRun::new(limits, prompt(), Vec::new(), "go".to_owned(), journal);
    assert_eq!(run.step(), 10);
    run.model_answered(asks(&[("b", "list_tasks", "{}")]));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::ToolLoopLimit));
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
