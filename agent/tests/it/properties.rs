//! Properties of the loop with any history and any model.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use errand_agent::{
    Action, AgentRun, FinishReason, Instructions, JournalledStep, Limits, Message, ModelAnswer, Prompt,
    RecordedCall, ToolCall, Turn, TurnOutcome, Usage,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn odd_text() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 8] = [
        "",
        " \n",
        "\0",
        "a\0b",
        "measure",
        "naïve 🦀",
        "\"\\\u{202e}",
        "a rather long text. a rather long text.",
    ];
    prop_oneof![
        prop::sample::select(KNOWN.as_slice()).prop_map(str::to_owned),
        vec(any::<char>(), 0..8).prop_map(String::from_iter),
    ]
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(["a", "b", "call_0_0", "call_0_1", "call_1_0"].as_slice())
            .prop_map(str::to_owned),
        odd_text(),
        Just("x".repeat(300)),
    ]
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"title":"a\u0000b"}"#.to_owned()),
        Just("{}".to_owned()),
        Just("[1]".to_owned()),
        Just("{\"cut".to_owned()),
        Just(format!("{{\"a\":\"{}\"}}", "x".repeat(200))),
        odd_text(),
    ]
}

fn past_call() -> impl Strategy<Value = RecordedCall> {
    (0_u16..4, id(), odd_text(), prop::bool::ANY, "[x\"é]{0,400}").prop_map(
        |(step, id, name, object, result)| {
            let arguments = if object {
                json!({"title": name})
            } else {
                Value::Null
            };
            RecordedCall {
                step,
                id,
                name,
                arguments,
                result,
            }
        },
    )
}

fn past_calls(max: usize) -> impl Strategy<Value = Vec<RecordedCall>> {
    vec(past_call(), 0..max).prop_map(|mut calls| {
        calls.sort_by_key(|call| call.step);
        calls
    })
}

fn turn() -> impl Strategy<Value = Turn> {
    let outcome = prop_oneof![
        Just(TurnOutcome::Succeeded),
        Just(TurnOutcome::Failed),
        Just(TurnOutcome::Cancelled)
    ];
    (odd_text(), past_calls(8), prop::option::of(odd_text()), outcome).prop_map(
        |(user, calls, reply, outcome)| Turn {
            provider_data: BTreeMap::new(),
            user,
            calls,
            reply,
            outcome,
        },
    )
}

fn journal() -> impl Strategy<Value = Vec<JournalledStep>> {
    vec((odd_text(), vec(past_call(), 0..4)), 0..4).prop_map(|steps| {
        (0_u16..)
            .zip(steps)
            .map(|(step, (content, calls))| {
                let calls = calls
                    .into_iter()
                    .map(|call| RecordedCall { step, ..call })
                    .collect();
                JournalledStep {
                    step,
                    content,
                    provider_data: None,
                    calls,
                    pending: Vec::new(),
                }
            })
            .collect()
    })
}

fn answer() -> impl Strategy<Value = ModelAnswer> {
    let call =
        (id(), odd_text(), arguments()).prop_map(|(id, name, arguments)| ToolCall { id, name, arguments });
    let finish = prop_oneof![
        Just(FinishReason::Stop),
        Just(FinishReason::Length),
        Just(FinishReason::ContentFilter),
        Just(FinishReason::ToolCalls),
        odd_text().prop_map(FinishReason::Other),
    ];
    (
        odd_text(),
        prop::option::of(odd_text()),
        vec(call, 0..20),
        finish,
        any::<(u64, u64)>(),
        prop::option::of(odd_text()),
    )
        .prop_map(
            |(content, refusal, tool_calls, finish, (prompt_tokens, completion_tokens), reasoning)| {
                ModelAnswer {
                    content,
                    refusal,
                    tool_calls,
                    finish,
                    usage: Usage {
                        prompt_tokens,
                        completion_tokens,
                        is_estimated: false,
                    },
                    model: "m".to_owned(),
                    provider_data: reasoning.map(|reasoning| Box::new(json!({"reasoning": reasoning}))),
                }
            },
        )
}

fn small() -> impl Strategy<Value = Limits> {
    (0_u16..6, 0_usize..6, 0_usize..40, 0_usize..30, 0_usize..2_000).prop_map(
        |(max_steps, max_calls_per_step, max_calls, history_max_messages, history_max_tokens)| Limits {
            max_steps,
            max_calls_per_step,
            max_calls,
            history_max_messages,
            history_max_tokens,
            max_argument_bytes: 100,
            max_result_bytes: 300,
        },
    )
}

fn run(limits: Limits, history: Vec<Turn>, journal: Vec<JournalledStep>) -> AgentRun {
    let prompt = Prompt::new("Ann", "2026-01-31", Arc::new(Instructions::new("You help.")));
    AgentRun::new(limits, prompt, history, "now".to_owned(), journal)
}

/// Checks that each tool call has exactly one result directly after it, that there are no other results, and that roles
/// alternate.
fn check(messages: &[Message]) -> Result<(), TestCaseError> {
    let mut unanswered: Vec<&str> = Vec::new();
    let mut after_user = false;
    for (position, message) in messages.iter().enumerate() {
        prop_assert_eq!(matches!(message, Message::System(_)), position == 0);
        if let Message::Tool { tool_call_id, .. } = message {
            prop_assert!(!unanswered.is_empty(), "result without a call at {}", position);
            prop_assert_eq!(unanswered.remove(0), tool_call_id.as_str());
            continue;
        }
        prop_assert!(unanswered.is_empty(), "unanswered calls before {}", position);
        prop_assert!(
            !(after_user && matches!(message, Message::User { .. })),
            "two user messages at {}",
            position
        );
        after_user = matches!(message, Message::User { .. });
        if let Message::Assistant {
            content, tool_calls, ..
        } = message
        {
            prop_assert!(
                !tool_calls.is_empty() || !content.trim().is_empty(),
                "blank message at {}",
                position
            );
            let ids: HashSet<&str> = tool_calls.iter().map(|call| call.id.as_str()).collect();
            prop_assert_eq!(ids.len(), tool_calls.len());
            for call in tool_calls {
                prop_assert!(!call.id.is_empty() && call.id.chars().count() <= 255);
                prop_assert!(matches!(
                    serde_json::from_str(&call.arguments),
                    Ok(Value::Object(_))
                ));
            }
            unanswered = tool_calls.iter().map(|call| call.id.as_str()).collect();
        }
    }
    prop_assert!(unanswered.is_empty());
    Ok(())
}

proptest! {
    // Generating cases is slow without optimization. With this number, a few test runs cover every combination.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn transcript_is_valid_and_bounded(
        limits in small(),
        history in vec(turn(), 0..12),
        journal in journal(),
    ) {
        let limits = Limits { max_steps: 10, ..limits };
        let without = run(limits, Vec::new(), journal.clone());
        let run = run(limits, history.clone(), journal);
        let (Action::CallModel { messages }, Action::CallModel { messages: kept }) = (run.next(), without.next())
        else {
            return Err(TestCaseError::fail("expected a model call"));
        };
        check(messages)?;
        // The prompt, the user's message and the journal are always included.
        let shown = messages.len() - kept.len();
        prop_assert!(shown <= limits.history_max_messages);
        prop_assert_eq!(&messages[0], &kept[0]);
        prop_assert_eq!(&messages[shown + 1..], &kept[1..]);
        // The estimate is an upper bound, so the text itself must fit the limit too.
        let text: usize = messages[1..=shown].iter().map(|message| match message {
            Message::System(prompt) => prompt.to_string().chars().count(),
            Message::User { content } | Message::Tool { content, .. } | Message::Assistant { content, .. } => {
                content.chars().count()
            }
        }).sum();
        prop_assert!(text / 4 <= limits.history_max_tokens);
        // The newest turns are included entirely.
        let users = messages[1..=shown].iter().filter_map(|message| match message {
            Message::User { content } => Some(content),
            _ => None,
        });
        for (shown, turn) in users.rev().zip(history.iter().rev()) {
            prop_assert_eq!(shown, &turn.user);
        }
    }

    #[test]
    fn run_ends_within_its_step_limit(
        limits in small(),
        journal in journal(),
        answers in vec(answer(), 7),
    ) {
        let recorded = journal.len();
        let mut run = run(limits, Vec::new(), journal);
        let mut answers = answers.into_iter();
        let mut model_calls = 0_usize;
        let mut ids = HashSet::new();
        let mut last_step = None;
        let mut repeated_calls = 0_usize;
        let ended = loop {
            match run.next() {
                Action::CallModel { messages } => {
                    check(messages)?;
                    if last_step.replace(run.step()) == Some(run.step()) {
                        repeated_calls += 1;
                    } else {
                        model_calls += 1;
                    }
                    prop_assert!(repeated_calls <= 1 && model_calls <= usize::from(limits.max_steps));
                    run.model_answered(answers.next().unwrap());
                }
                Action::CallTools { step, calls } => {
                    prop_assert_eq!(usize::from(step) + 1, model_calls + recorded);
                    prop_assert!(!calls.is_empty());
                    prop_assert!(calls.iter().filter(|call| call.arguments.is_ok()).count() <= limits.max_calls_per_step);
                    let mut results = Vec::new();
                    for call in calls {
                        prop_assert!(ids.insert(call.id.clone()), "duplicate ID: {:?}", call.id);
                        prop_assert!(!call.name.is_empty() && call.name.chars().count() <= 100);
                        let stored = format!("{}{}{}", call.id, call.name, call.journal_arguments());
                        prop_assert!(!stored.contains('\0') && !stored.contains("\\u0000"));
                        results.push(call.refusal().unwrap_or_else(|| "\"".repeat(400)));
                    }
                    prop_assert!(!run.content().contains('\0'));
                    let provider_data = run.provider_data().map(Value::to_string).unwrap_or_default();
                    prop_assert!(!provider_data.contains("\\u0000"));
                    prop_assert!(ids.len() <= limits.max_calls);
                    run.tools_finished(results);
                }
                Action::Reply { text } => {
                    prop_assert!(!text.trim().is_empty() && !text.contains('\0'));
                    break true;
                }
                Action::Fail(failure) => {
                    prop_assert!(!failure.to_string().is_empty());
                    break true;
                }
            }
        };
        prop_assert!(ended);
    }

    #[test]
    fn crashed_run_resumes_from_its_journal(
        crashes in vec(prop::bool::weighted(0.3), 12),
        answers in vec(answer(), 5),
    ) {
        // An unfinished step calls the model again. The test assumes that the model repeats its answer.
        let limits = Limits { max_steps: 20, max_calls: 60, ..Limits::default() };
        let uninterrupted = play(limits, &answers, &mut std::iter::repeat(false));
        let crashed = play(limits, &answers, &mut crashes.into_iter().chain(std::iter::repeat(false)));
        prop_assert_eq!(uninterrupted?, crashed?);
    }
}

/// Plays a run with these answers. Returns the effects of its tools and its end. Before each action the run crashes if
/// `crashes` says so, and restarts from the committed journal. A step is committed entirely, with its calls, their effects
/// and their results, or not at all.
fn play(
    limits: Limits,
    answers: &[ModelAnswer],
    crashes: &mut dyn Iterator<Item = bool>,
) -> Result<(Vec<String>, String), TestCaseError> {
    let (mut journal, mut effects) = (Vec::new(), Vec::new());
    let mut attempt = run(limits, Vec::new(), Vec::new());
    loop {
        if crashes.next() == Some(true) {
            attempt = run(limits, Vec::new(), journal.clone());
        }
        match attempt.next() {
            Action::CallModel { messages } => {
                check(messages)?;
                let Some(answer) = answers.get(journal.len()) else {
                    return Ok((effects, format!("{messages:?}")));
                };
                attempt.model_answered(answer.clone());
            }
            Action::CallTools { step, calls } => {
                let calls: Vec<_> = calls
                    .iter()
                    .map(|call| RecordedCall {
                        step,
                        id: call.id.clone(),
                        name: call.name.clone(),
                        arguments: call.journal_arguments(),
                        result: call
                            .refusal()
                            .unwrap_or_else(|| json!({"effect": effects.len()}).to_string()),
                    })
                    .collect();
                effects.extend(calls.iter().map(|call| format!("{call:?}")));
                let results = calls.iter().map(|call| call.result.clone()).collect();
                journal.push(JournalledStep {
                    pending: Vec::new(),
                    step,
                    content: attempt.content().to_owned(),
                    provider_data: attempt.provider_data().cloned().map(Box::new),
                    calls,
                });
                attempt.tools_finished(results);
            }
            ended => return Ok((effects, format!("{ended:?}"))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn late_and_repeated_input_is_ignored(answers in vec(answer(), 4), late in answer()) {
        let limits = Limits::default();
        let mut run = run(limits, Vec::new(), Vec::new());
        for answer in answers {
            run.tools_finished(vec!["unexpected".to_owned()]);
            run.model_answered(answer);
            if matches!(run.next(), Action::CallModel { .. }) {
                break; // An empty answer is requested again.
            }
            let before = format!("{:?}", run.next());
            // The run awaits results, so another answer has no effect.
            run.model_answered(late.clone());
            prop_assert_eq!(format!("{:?}", run.next()), before);
            run.tools_finished(Vec::new());
            if !matches!(run.next(), Action::CallModel { .. }) {
                break;
            }
        }
    }
}
