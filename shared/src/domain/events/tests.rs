use insta::assert_json_snapshot;
use serde_json::json;

use super::*;

fn event(n: i64, data: EventData<'_>) -> Event<'_> {
    Event {
        seq: EVENTS_PER_EPOCH + n,
        run_id: Uuid::from_u128(1),
        conversation_id: Uuid::from_u128(2),
        attempt: 1,
        at: DateTime::UNIX_EPOCH,
        data,
    }
}

fn end(status: RunStatus, problem: Option<RunProblem>) -> RunEnd {
    RunEnd {
        user_id: Uuid::from_u128(3),
        seq: final_seq(1),
        attempt: 1,
        at: DateTime::UNIX_EPOCH,
        response: ChatResponse {
            conversation_id: Uuid::from_u128(2),
            message: if problem.is_none() && status == RunStatus::Succeeded {
                "You have no tasks.".to_owned()
            } else {
                String::new()
            },
            tool_calls: vec![ToolCallView {
                tool_call_id: "call_1".to_owned(),
                tool_name: "list_tasks".to_owned(),
                arguments: json!({"user_id": Uuid::from_u128(3)}),
                result: json!({"success": true, "tasks": []}),
            }],
            usage: Usage::new(450, 85),
            run_id: Uuid::from_u128(1),
            status,
            approvals: Vec::new(),
            problem,
        },
        timing: None,
    }
}

#[test]
fn every_event_type_survives_a_round_trip() {
    let call = json!({"user_id": Uuid::from_u128(3), "title": "milk"});
    let result = json!({"success": true});
    let ends = [
        end(RunStatus::Succeeded, None),
        end(RunStatus::Failed, Some(RunProblem::failed("the model is away"))),
        end(RunStatus::Cancelled, None),
    ];
    let mut events = vec![
        event(1, EventData::Queued {}),
        event(FIRST_OF_WORKER, EventData::Started {}),
        event(1025, EventData::Delta { text: "Hel".into() }),
        event(1026, EventData::Reset { text: "Hello".into() }),
        event(
            1027,
            EventData::ToolStarted {
                tool_call_id: "call_1".into(),
                tool_name: "add_task".into(),
                arguments: Cow::Borrowed(&call),
            },
        ),
        event(
            1028,
            EventData::ToolFinished {
                tool_call_id: "call_1".into(),
                tool_name: "add_task".into(),
                arguments: Cow::Borrowed(&call),
                result: Cow::Borrowed(&result),
                success: true,
            },
        ),
        event(
            1029,
            EventData::ApprovalRequested {
                tool_call_id: "call_2".into(),
                tool_name: "add_task".into(),
                arguments: Cow::Borrowed(&call),
                expires_at: DateTime::UNIX_EPOCH,
            },
        ),
    ];
    events.extend(ends.iter().map(RunEnd::event));
    for event in &events {
        let json = serde_json::to_value(event).unwrap();
        assert_eq!(json["type"], event.data.name());
        assert_eq!(&serde_json::from_value::<Event<'_>>(json).unwrap(), event);
    }
    assert_json_snapshot!(events);
}

#[test]
fn event_numbers_increase_within_and_across_epochs() {
    let epochs = [0, 1, 2, i32::MAX];
    let numbers: Vec<_> = epochs
        .iter()
        .flat_map(|epoch| [queued_seq(*epoch), started_seq(*epoch), final_seq(*epoch)])
        .collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.iter().all(|number| *number < 1 << 53));
    assert_eq!(FIRST_OF_LOG, started_seq(1));
    assert!(is_final_seq(final_seq(7)) && !is_final_seq(queued_seq(7)));
    assert_eq!(final_seq(7) >> 20, 7, "the epoch can be read from the number");
}
