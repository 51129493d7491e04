//! Measures how long it takes to build the transcript: of no history, of 25 turns, and of 1,000 turns, which the limits shorten.

use std::{collections::BTreeMap, sync::Arc};

use criterion::{BatchSize, Criterion};
use errand_agent::{AgentRun, Instructions, Limits, Prompt, RecordedCall, Turn, TurnOutcome};
use serde_json::json;

fn turn(number: usize) -> Turn {
    Turn {
        user: format!("Add a task to measure {number}"),
        calls: vec![RecordedCall {
            step: 0,
            id: format!("call_{number}"),
            name: "add_task".to_owned(),
            arguments: json!({"title": format!("measure {number}")}),
            result: json!({"success": true, "task": {"id": number, "title": "measure"}, "message": "Added."})
                .to_string(),
        }],
        reply: Some(format!("Added task {number}: measure {number}")),
        outcome: TurnOutcome::Succeeded,
        provider_data: BTreeMap::new(),
    }
}

pub(crate) fn measure(criterion: &mut Criterion) {
    let prompt = Prompt::new(
        "Ada",
        "Monday, 2 January 2034",
        Arc::new(Instructions::new(
            "You are a careful assistant for one person's to-do list.",
        )),
    );
    let mut group = criterion.benchmark_group("transcript");
    for turns in [0, 25, 1000] {
        let history: Vec<_> = (0..turns).map(turn).collect();
        group.bench_function(format!("of {turns} turns"), |bencher| {
            bencher.iter_batched(
                || (prompt.clone(), history.clone()),
                |(prompt, history)| {
                    AgentRun::new(
                        Limits::default(),
                        prompt,
                        history,
                        "And now?".to_owned(),
                        Vec::new(),
                    )
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}
