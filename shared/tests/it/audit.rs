//! The checks of `errand-api verify`: a valid database passes all of them, and every violation is reported.

mod retention;
mod sample;

use errand_shared::{Uuid, storage::audit::Check};

use sample::{Sample, force};

/// Given a valid database, when `broken` is executed, then `check` reports exactly these violations.
async fn reports(
    check: Check,
    broken: impl Fn(&Sample) -> String,
    offenders: impl Fn(&Sample) -> Vec<String>,
) {
    let sample = Sample::new().await;
    let before = sample.check(check).await;
    assert_eq!((before.violations, before.offenders), (0, vec![]));
    let mut connection = sample.db.pool().acquire().await.unwrap();
    force(&mut connection, &broken(&sample)).await;
    drop(connection);
    let found = sample.check(check).await;
    let offenders = offenders(&sample);
    assert_eq!(found.offenders, offenders);
    assert_eq!(found.violations, i64::try_from(offenders.len()).unwrap());
}

fn run(id: Uuid) -> Vec<String> {
    vec![format!("run {id}")]
}

#[tokio::test]
async fn valid_database_passes_all_checks() {
    let sample = Sample::new().await;
    for check in Check::ALWAYS.into_iter().chain([Check::Origins]) {
        let found = sample.check(check).await;
        assert_eq!(found.offenders, Vec::<String>::new(), "{check:?}");
        assert_eq!(found.violations, 0, "{check:?}");
        assert!(found.examined > 0, "{check:?} examines rows");
    }
    let found = sample.check(Check::Settled).await;
    assert_eq!(found.violations, 2, "one running and one queued run");
}

#[tokio::test]
async fn list_of_violations_is_limited_but_all_are_counted() {
    let sample = Sample::new().await;
    sample
        .db
        .database
        .execute("UPDATE runs SET prompt_tokens = 7")
        .await
        .unwrap();
    let found = sample.check(Check::Usage).await;
    assert_eq!((found.violations, found.offenders.len()), (4, 3));
}

#[tokio::test]
async fn run_without_message_is_reported() {
    reports(
        Check::Messages,
        |s| {
            format!(
                "DELETE FROM messages WHERE run_id = '{}' AND role = 'user'",
                s.failed
            )
        },
        |s| run(s.failed),
    )
    .await;
}

#[tokio::test]
async fn message_with_two_runs_is_reported() {
    reports(
        Check::Messages,
        |s| {
            format!(
                "INSERT INTO runs (id, conversation_id, user_id, seq) SELECT '{}', conversation_id, user_id, seq \
                 FROM runs WHERE id = '{}'",
                Uuid::nil(),
                s.added
            )
        },
        |_| run(Uuid::nil()),
    )
    .await;
}

#[tokio::test]
async fn run_with_two_messages_is_reported() {
    reports(
        Check::Messages,
        |s| {
            format!(
                "INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content) \
                 SELECT gen_random_uuid(), conversation_id, seq + 100, run_id, 0, 'user', '' FROM messages \
                 WHERE run_id = '{}' AND slot = 0",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn finished_run_without_finish_time_is_reported() {
    reports(
        Check::Ends,
        |s| format!("UPDATE runs SET finished_at = NULL WHERE id = '{}'", s.added),
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn open_run_with_a_final_event_is_reported() {
    reports(
        Check::Ends,
        |s| {
            format!(
                "UPDATE runs SET final_event_seq = 1048577 WHERE id = '{}'",
                s.running
            )
        },
        |s| run(s.running),
    )
    .await;
}

#[tokio::test]
async fn failed_run_without_a_reason_is_reported() {
    reports(
        Check::Ends,
        |s| format!("UPDATE runs SET failure_reason = NULL WHERE id = '{}'", s.failed),
        |s| run(s.failed),
    )
    .await;
}

#[tokio::test]
async fn missing_reply_is_reported() {
    reports(
        Check::Replies,
        |s| {
            format!(
                "DELETE FROM messages WHERE run_id = '{}' AND role = 'assistant'",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn second_reply_is_reported() {
    reports(
        Check::Replies,
        |s| {
            format!(
                "INSERT INTO messages (id, conversation_id, seq, run_id, slot, role, content) \
                 SELECT gen_random_uuid(), conversation_id, seq + 100, run_id, slot, role, '' FROM messages \
                 WHERE run_id = '{}' AND role = 'assistant'",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn reply_of_a_run_that_did_not_succeed_is_reported() {
    reports(
        Check::Replies,
        |s| format!("UPDATE runs SET status = 'cancelled' WHERE id = '{}'", s.added),
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn final_event_of_another_epoch_is_reported() {
    reports(
        Check::FinalEvents,
        |s| format!("UPDATE runs SET epoch = epoch + 1 WHERE id = '{}'", s.cancelled),
        |s| run(s.cancelled),
    )
    .await;
}

#[tokio::test]
async fn finished_run_without_a_final_event_is_reported() {
    reports(
        Check::FinalEvents,
        |s| format!("UPDATE runs SET final_event_seq = NULL WHERE id = '{}'", s.added),
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn run_in_another_users_conversation_is_reported() {
    reports(
        Check::Owners,
        |s| {
            format!(
                "INSERT INTO users (id, email, name) VALUES ('{0}', 'eve@example.com', 'Eve'); \
                 UPDATE runs SET user_id = '{0}' WHERE id = '{1}'",
                Uuid::nil(),
                s.failed
            )
        },
        |s| run(s.failed),
    )
    .await;
}

#[tokio::test]
async fn key_for_another_users_run_is_reported() {
    reports(
        Check::Keys,
        |_| {
            format!(
                "INSERT INTO users (id, email, name) VALUES ('{0}', 'eve@example.com', 'Eve'); \
                 UPDATE idempotency_keys SET user_id = '{0}'",
                Uuid::nil()
            )
        },
        |s| vec![format!("run {} by a key of user {}", s.added, Uuid::nil())],
    )
    .await;
}

#[tokio::test]
async fn two_executing_runs_of_a_conversation_are_reported() {
    reports(
        Check::OneAtATime,
        |s| format!("UPDATE runs SET status = 'running' WHERE id = '{}'", s.failed),
        |s| vec![format!("conversation {}", s.conversation)],
    )
    .await;
}

#[tokio::test]
async fn run_claimed_while_an_earlier_run_is_open_is_reported() {
    reports(
        Check::Order,
        |s| {
            format!(
                "UPDATE runs SET status = 'queued', finished_at = NULL WHERE id = '{}'",
                s.failed
            )
        },
        |s| run(s.running),
    )
    .await;
}

#[tokio::test]
async fn run_that_finished_before_an_earlier_one_is_reported() {
    reports(
        Check::Order,
        |s| {
            format!(
                "UPDATE runs SET finished_at = finished_at - interval '1 minute' WHERE id = '{}'",
                s.deleted
            )
        },
        |s| run(s.deleted),
    )
    .await;
}

#[tokio::test]
async fn duplicate_message_number_is_reported() {
    reports(
        Check::Sequences,
        |s| {
            format!(
                "UPDATE messages SET seq = 1 WHERE conversation_id = '{}' AND seq = 2",
                s.conversation
            )
        },
        |s| vec![format!("conversation {} message 1", s.conversation)],
    )
    .await;
}

#[tokio::test]
async fn message_number_above_the_counter_is_reported() {
    reports(
        Check::Sequences,
        |s| format!("UPDATE messages SET seq = 999 WHERE run_id = '{}'", s.running),
        |s| vec![format!("conversation {} message 999", s.conversation)],
    )
    .await;
}

#[tokio::test]
async fn reply_before_its_tool_results_is_reported() {
    // Given tool results at 2 and 3 and the reply at 4, moves the reply to 2.
    reports(
        Check::Layout,
        |s| {
            format!(
                "UPDATE messages SET seq = CASE role WHEN 'tool' THEN seq + 1 ELSE 2 END \
                 WHERE run_id = '{}' AND role <> 'user'",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn reply_after_that_of_a_later_run_is_reported() {
    reports(
        Check::Layout,
        |s| {
            format!(
                "UPDATE messages SET seq = seq + 50 WHERE run_id = '{}' AND role <> 'user'",
                s.added
            )
        },
        |s| run(s.deleted),
    )
    .await;
}

#[tokio::test]
async fn step_recorded_twice_is_reported() {
    reports(
        Check::Journal,
        |s| {
            format!(
                "INSERT INTO steps SELECT * FROM steps WHERE run_id = '{}'",
                s.failed
            )
        },
        |s| vec![format!("run {} step 0", s.failed)],
    )
    .await;
}

#[tokio::test]
async fn tool_call_recorded_twice_is_reported() {
    reports(
        Check::Journal,
        |s| {
            format!(
                "INSERT INTO tool_calls SELECT * FROM tool_calls WHERE run_id = '{}' AND call_index = 0",
                s.added
            )
        },
        |s| vec![format!("run {} step 0 call 0", s.added)],
    )
    .await;
}

/// The first call of the run that needed approval.
fn first_approved(s: &Sample) -> Vec<String> {
    vec![format!("run {} step 0 call 0", s.deleted)]
}

#[tokio::test]
async fn call_without_the_approval_it_needs_is_reported() {
    for broken in [
        "approved = false",
        "approved = NULL, decided_at = NULL",
        "decided_at = expires_at + interval '1 second'",
    ] {
        reports(
            Check::Consents,
            |s| {
                format!(
                    "UPDATE asked_calls SET {broken} WHERE run_id = '{}' AND call_index = 0",
                    s.deleted
                )
            },
            first_approved,
        )
        .await;
    }
}

#[tokio::test]
async fn call_that_differs_from_the_approved_one_is_reported() {
    reports(
        Check::Consents,
        |s| {
            format!(
                "UPDATE asked_calls SET arguments = '{{}}' WHERE run_id = '{}' AND call_index = 0",
                s.deleted
            )
        },
        first_approved,
    )
    .await;
}

#[tokio::test]
async fn pending_call_of_a_finished_run_is_reported() {
    reports(
        Check::Consents,
        |s| {
            format!(
                "DELETE FROM tool_calls WHERE run_id = '{}' AND call_index = 0",
                s.deleted
            )
        },
        first_approved,
    )
    .await;
}

#[tokio::test]
async fn missing_tool_message_is_reported() {
    reports(
        Check::ToolRows,
        |s| format!("DELETE FROM messages WHERE run_id = '{}' AND slot = 2", s.added),
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn tool_message_with_other_provider_data_is_reported() {
    reports(
        Check::ToolRows,
        |s| {
            format!(
                "UPDATE messages SET metadata = metadata || '{{\"provider_data\": {{}}}}' \
                 WHERE run_id = '{}' AND slot = 1",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn tool_message_with_another_result_is_reported() {
    reports(
        Check::ToolRows,
        |s| {
            format!(
                "UPDATE messages SET content = '{{}}' WHERE run_id = '{}' AND role = 'tool'",
                s.deleted
            )
        },
        |s| run(s.deleted),
    )
    .await;
}

#[tokio::test]
async fn reply_with_other_tool_calls_is_reported() {
    reports(
        Check::ReplyCalls,
        |s| {
            format!(
                "UPDATE messages SET tool_calls = tool_calls - 0 WHERE run_id = '{}' AND role = 'assistant'",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn wrong_token_count_is_reported() {
    reports(
        Check::Usage,
        |s| {
            format!(
                "UPDATE steps SET completion_tokens = 0 WHERE run_id = '{}' AND step = 1",
                s.added
            )
        },
        |s| run(s.added),
    )
    .await;
}

#[tokio::test]
async fn task_number_above_the_counter_is_reported() {
    reports(
        Check::TaskNumbers,
        |_| "UPDATE tasks SET number = 3".to_owned(),
        |s| vec![format!("user {} task 3", s.user)],
    )
    .await;
}

#[tokio::test]
async fn duplicate_task_number_is_reported() {
    reports(
        Check::TaskNumbers,
        |_| "INSERT INTO tasks SELECT * FROM tasks".to_owned(),
        |s| vec![format!("user {} task 1", s.user)],
    )
    .await;
}

#[tokio::test]
async fn two_calls_that_added_the_same_task_are_reported() {
    reports(
        Check::Effects,
        |s| {
            format!(
                "UPDATE tool_calls SET result = jsonb_set(result, '{{task,id}}', '1') \
                 WHERE run_id = '{}' AND call_index = 0",
                s.deleted
            )
        },
        |s| {
            vec![
                format!("run {} step 0 call 0", s.added),
                format!("run {} step 0 call 0", s.deleted),
            ]
        },
    )
    .await;
}

#[tokio::test]
async fn deleted_task_that_still_exists_is_reported() {
    reports(
        Check::Effects,
        |s| {
            format!(
                "INSERT INTO tasks (user_id, number, title) VALUES ('{}', 2, 'bread')",
                s.user
            )
        },
        |s| vec![format!("run {} step 0 call 1", s.deleted)],
    )
    .await;
}

#[tokio::test]
async fn task_without_a_call_is_reported_where_only_chats_change_tasks() {
    reports(
        Check::Origins,
        |s| {
            format!(
                "UPDATE task_counters SET last_number = 3; \
                 INSERT INTO tasks (user_id, number, title) VALUES ('{}', 3, 'milk')",
                s.user
            )
        },
        |s| vec![format!("user {} task 3", s.user)],
    )
    .await;
}

#[tokio::test]
async fn lost_task_is_reported_where_only_chats_change_tasks() {
    reports(
        Check::Origins,
        |_| "DELETE FROM tasks".to_owned(),
        |s| vec![format!("user {} task 1", s.user)],
    )
    .await;
}

#[tokio::test]
async fn run_of_a_dead_worker_is_reported_unless_just_claimed() {
    let sample = Sample::new().await;
    let heartbeat = |at: &str| format!("UPDATE workers SET heartbeat_at = now() + interval '{at}'");
    let claimed =
        |at: &str| format!("UPDATE runs SET claimed_at = now() + interval '{at}' WHERE status = 'running'");
    for (statements, offenders) in [
        ([claimed("-1 hour"), heartbeat("1 hour")], vec![]),
        ([claimed("1 hour"), heartbeat("-1 hour")], vec![]),
        ([claimed("-1 hour"), heartbeat("-1 hour")], run(sample.running)),
        (
            [claimed("-1 hour"), "DELETE FROM workers".to_owned()],
            run(sample.running),
        ),
    ] {
        sample.db.database.execute(&statements.join(";")).await.unwrap();
        assert_eq!(
            sample.check_without_grace(Check::Orphans).await.offenders,
            offenders,
            "{statements:?}"
        );
    }
}

#[tokio::test]
async fn run_past_its_deadline_is_reported() {
    let sample = Sample::new().await;
    assert_eq!(sample.check_without_grace(Check::Overdue).await.violations, 0);
    let late = "UPDATE runs SET deadline_at = now() - interval '1 hour'";
    sample.db.database.execute(late).await.unwrap();
    assert_eq!(
        sample.check_without_grace(Check::Overdue).await.offenders,
        run(sample.running)
    );
}

#[tokio::test]
async fn waiting_run_is_reported_if_slots_are_free_or_no_worker_is_alive() {
    let sample = Sample::new().await;
    let workers = |set: &str| format!("UPDATE workers SET {set}");
    for (statement, offenders) in [
        (workers("in_flight = 9"), run(sample.queued)),
        (workers("in_flight = 10"), vec![]),
        (workers("in_flight = 0, draining = true"), vec![]),
        (
            workers("heartbeat_at = now() - interval '1 hour'"),
            run(sample.queued),
        ),
        ("UPDATE queue_control SET paused_at = now()".to_owned(), vec![]),
        (
            "UPDATE queue_control SET paused_at = NULL".to_owned(),
            run(sample.queued),
        ),
        (
            "UPDATE runs SET available_at = now() + interval '1 hour'".to_owned(),
            vec![],
        ),
    ] {
        sample.db.database.execute(&statement).await.unwrap();
        assert_eq!(
            sample.check_without_grace(Check::Waiting).await.offenders,
            offenders,
            "{statement}"
        );
        assert_eq!(
            sample.check(Check::Waiting).await.violations,
            0,
            "the run has waited for less than a minute"
        );
    }
}

#[tokio::test]
async fn deleted_journal_that_exists_or_was_needed_is_reported() {
    reports(
        Check::Journal,
        |s| {
            format!(
                "UPDATE runs SET journal_dropped_at = now() WHERE id IN ('{}', '{}'); DELETE FROM steps WHERE run_id = '{}'",
                s.added, s.failed, s.failed
            )
        },
        |s| [run(s.added), run(s.failed)].concat(),
    )
    .await;
}
