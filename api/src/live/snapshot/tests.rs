use errand_shared::{
    Uuid,
    domain::{
        chat::{ChatResponse, ToolCallView, Usage},
        events::{FIRST_OF_WORKER, ROOM_AFTER_LOSS, final_seq, started_seq},
        timing::RunTiming,
    },
};
use serde_json::json;

use super::*;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn view(status: RunStatus, attempt: i32, epoch: i32, calls: usize) -> RunView {
    RunView {
        user_id: Uuid::from_u128(3),
        attempt,
        epoch,
        created_at: NOW,
        ended: status.is_final().then(|| (final_seq(epoch), NOW)),
        successes: vec![true; calls],
        awaited: Vec::new(),
        response: ChatResponse {
            conversation_id: Uuid::from_u128(2),
            message: if status == RunStatus::Succeeded {
                "Done.".to_owned()
            } else {
                String::new()
            },
            tool_calls: (0..calls)
                .map(|number| ToolCallView {
                    tool_call_id: format!("call_{number}"),
                    tool_name: "add_task".to_owned(),
                    arguments: json!({}),
                    result: json!({"success": true}),
                })
                .collect(),
            usage: Usage::default(),
            run_id: Uuid::from_u128(1),
            status,
            approvals: Vec::new(),
            problem: None,
        },
        timing: RunTiming::default(),
    }
}

fn logged(seq: i64, data: EventData<'_>) -> LogEntry {
    let event = *made(&view(RunStatus::Running, 1, 1, 0), seq, 1, NOW, data);
    LogEntry {
        seq,
        event: serde_json::to_vec(&event).unwrap(),
    }
}

fn seq_of(event: &SnapshotEvent<'_>) -> i64 {
    match event {
        SnapshotEvent::Logged(entry) => entry.seq,
        SnapshotEvent::Made(event) => event.seq,
    }
}

fn kinds(snapshot: &Snapshot<'_>) -> Vec<&'static str> {
    let kind = |event: &SnapshotEvent<'_>| match event {
        SnapshotEvent::Logged(entry) => entry.parse().unwrap().data.name(),
        SnapshotEvent::Made(event) => event.data.name(),
    };
    snapshot.events.iter().map(kind).collect()
}

#[test]
fn numbers_ascend_and_never_collide_with_later_events() {
    let started = started_seq(1);
    let again = started + 7 + ROOM_AFTER_LOSS;
    let logs: [Vec<LogEntry>; 5] = [
        vec![],
        vec![
            logged(started, EventData::Started {}),
            logged(started + 1, EventData::Delta { text: "a".into() }),
        ],
        // Started again after the log was lost.
        vec![logged(again, EventData::Reset { text: "a".into() })],
        // Started by the rescuer, with a second attempt.
        vec![
            logged(queued_seq(2), EventData::Queued {}),
            logged(started_seq(3), EventData::Started {}),
        ],
        // Trimmed.
        vec![logged(started + 20_000, EventData::Delta { text: "z".into() })],
    ];
    let runs = [
        view(RunStatus::Queued, 0, 0, 0),
        view(RunStatus::Running, 1, 1, 3),
        view(RunStatus::Running, 2, 3, 600),
        view(RunStatus::Queued, 1, 2, 2),
        view(RunStatus::Succeeded, 1, 1, 3),
        view(RunStatus::Failed, 2, 3, 1),
    ];
    let seen = [
        0,
        1,
        started - 1,
        started,
        started + 7,
        again - 1,
        again,
        final_seq(1),
        queued_seq(2),
        started_seq(3),
    ];
    for (log, view, after) in logs
        .iter()
        .flat_map(|log| runs.iter().map(move |view| (log, view)))
        .flat_map(|(log, view)| seen.iter().map(move |after| (log, view, *after)))
        .filter(|(_, view, after)| *after < final_seq(view.epoch))
    {
        let snapshot = snapshot(view, Some(log), after, NOW);
        let numbers: Vec<_> = snapshot.events.iter().map(seq_of).collect();
        let what = format!(
            "{:?} {} after {after}: {numbers:?}",
            view.response.status,
            log.len()
        );
        assert!(numbers.is_sorted_by(|one, next| one < next), "{what}");
        assert!(
            numbers
                .iter()
                .all(|number| *number > after && !is_final_seq(*number)),
            "{what}"
        );
        if log.is_empty() && after <= queued_seq(view.epoch) && !view.response.status.is_final() {
            let most = i64::from(view.epoch) * EVENTS_PER_EPOCH + FIRST_OF_WORKER;
            assert!(
                numbers.iter().all(|number| *number < most),
                "{what}: its start would be dropped"
            );
        } else if log.is_empty() {
            let most = after.max(started_seq(view.epoch)) + ROOM_AFTER_LOSS;
            assert!(
                numbers
                    .iter()
                    .all(|number| *number < most || *number == final_seq(view.epoch) - 1),
                "{what}: its worker's next event would be dropped"
            );
        }
    }
}

#[test]
fn calls_missing_from_the_log_come_from_recorded_steps_once() {
    let running = view(RunStatus::Running, 1, 1, 2);
    let none = snapshot(&running, Some(&[]), 0, NOW);
    let both = ["tool.started", "tool.finished"].repeat(2);
    assert_eq!(kinds(&none), [vec!["run.queued"], both].concat());
    assert!(none.needs_resend && none.from_steps.len() == 2);

    let call = EventData::ToolFinished {
        tool_call_id: "call_1".into(),
        tool_name: "add_task".into(),
        arguments: Cow::Owned(json!({})),
        result: Cow::Owned(json!({})),
        success: true,
    };
    let restarted = [logged(started_seq(1) + 3000, call)];
    let half = snapshot(&running, Some(&restarted), 0, NOW);
    assert_eq!(
        kinds(&half),
        ["run.queued", "tool.started", "tool.finished", "tool.finished"]
    );
    assert_eq!(half.from_steps.iter().collect::<Vec<_>>(), ["call_0"]);

    let whole = [logged(started_seq(1), EventData::Started {})];
    let all = snapshot(&running, Some(&whole), 0, NOW);
    assert_eq!(kinds(&all), ["run.queued", "run.started"]);
    assert!(!all.needs_resend && all.from_steps.is_empty());

    let unknown = snapshot(&running, None, started_seq(1), NOW);
    assert_eq!(
        kinds(&unknown),
        Vec::<&str>::new(),
        "without Redis no event is made up"
    );
}

#[test]
fn a_requeued_run_starts_with_a_queued_event() {
    let queued = view(RunStatus::Queued, 1, 2, 1);
    let requeued = snapshot(&queued, Some(&[]), started_seq(1) + 4, NOW);
    let expected = ["run.queued", "message.reset", "tool.started", "tool.finished"];
    assert_eq!(kinds(&requeued), expected);
    assert_eq!(seq_of(&requeued.events[0]), queued_seq(2));
}

#[test]
fn a_log_with_an_end_is_ahead_of_an_open_row() {
    let end = [LogEntry {
        seq: final_seq(1),
        event: Vec::new(),
    }];
    assert!(is_ahead(&end, &view(RunStatus::Running, 1, 1, 0)));
    assert!(!is_ahead(&end, &view(RunStatus::Succeeded, 1, 1, 0)));
    assert!(
        !is_ahead(&end, &view(RunStatus::Queued, 1, 2, 0)),
        "tried again since"
    );
}
