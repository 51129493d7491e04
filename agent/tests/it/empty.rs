//! Answers without text after tool calls.

use errand_agent::{Action, AgentFailure, FinishReason, Limits, ModelAnswer};

use crate::build::{calling, fresh, messages, text};

const ADDED: &str = r#"{"success":true,"message":"Added milk."}"#;
const FAILED: &str = r#"{"success":false,"error":"TASK_NOT_FOUND: no task","message":"No task 3."}"#;

fn empty(finish: FinishReason) -> ModelAnswer {
    ModelAnswer { finish, ..text("") }
}

#[test]
fn empty_answer_after_tools_is_requested_once_more() {
    let mut run = fresh(Limits::default());
    run.model_answered(calling(&[("a", "measure", "{}")]));
    run.tools_finished(vec![ADDED.to_owned()]);
    let shown = messages(&run);
    run.model_answered(empty(FinishReason::Stop));
    assert_eq!(messages(&run), shown, "the request is repeated");
    assert_eq!(run.step(), 1, "the repetition belongs to the same step");
    run.model_answered(text("Added milk for you."));
    assert_eq!(
        run.next(),
        Action::Reply {
            text: "Added milk for you."
        }
    );
    assert_eq!((run.step(), run.usage().prompt_tokens), (2, 30));
}

#[test]
fn reply_is_composed_after_a_second_empty_answer() {
    for finish in [FinishReason::Stop, FinishReason::Length] {
        let mut run = fresh(Limits::default());
        run.model_answered(calling(&[("a", "measure", "{}"), ("b", "measure", "{}")]));
        run.tools_finished(vec![ADDED.to_owned(), FAILED.to_owned()]);
        run.model_answered(empty(finish.clone()));
        run.model_answered(empty(finish));
        assert_eq!(run.next(), Action::Reply { text: "Added milk." });
    }
}

#[test]
fn empty_answer_may_be_followed_by_more_tool_calls() {
    let mut run = fresh(Limits::default());
    run.model_answered(calling(&[("a", "measure", "{}")]));
    run.tools_finished(vec![FAILED.to_owned()]);
    run.model_answered(empty(FinishReason::Stop));
    run.model_answered(calling(&[("b", "measure", "{}")]));
    assert!(matches!(run.next(), Action::CallTools { step: 1, .. }));
    run.tools_finished(vec![ADDED.to_owned()]);
    run.model_answered(empty(FinishReason::Stop));
    assert_eq!(
        run.next(),
        Action::Reply { text: "Added milk." },
        "only one answer of a run is requested again"
    );
}

#[test]
fn blocked_answer_after_tools_is_not_requested_again() {
    let mut run = fresh(Limits::default());
    run.model_answered(calling(&[("a", "measure", "{}")]));
    run.tools_finished(vec![ADDED.to_owned()]);
    run.model_answered(empty(FinishReason::ContentFilter));
    assert_eq!(run.next(), Action::Reply { text: "Added milk." });
}

#[test]
fn run_without_successful_calls_fails() {
    let mut run = fresh(Limits::default());
    run.model_answered(calling(&[("a", "measure", "{}")]));
    run.tools_finished(vec![FAILED.to_owned()]);
    run.model_answered(empty(FinishReason::Stop));
    run.model_answered(empty(FinishReason::Stop));
    assert_eq!(run.next(), Action::Fail(&AgentFailure::EmptyAnswer));
}
