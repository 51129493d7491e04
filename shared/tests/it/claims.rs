//! Claims: which runs can be claimed, and what a claim returns.

use std::collections::HashSet;

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, RecordOutcome, RecordedCall},
        queue::claims::{self, ClaimBounds},
    },
};
use futures::future::join_all;
use serde_json::json;

use crate::test_db::{NO_LIMITS, TestDb, first_post, next_post, ready, reply_to, step};

#[tokio::test]
async fn fifty_concurrent_claimers_claim_each_run_once() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let posts: Vec<_> = (0..200).map(|_| first_post(ada, "hi")).collect();
    errand_shared::storage::queue::posts::store_batch(db.pool(), &posts, 0)
        .await
        .unwrap();
    let ids: Vec<_> = posts.iter().map(|post| post.run_id).collect();
    let claimers = (0..50).map(|claimer| {
        let pool = db.pool().clone();
        // Every claimer tries the same runs, in another order and with another batch size.
        let mut ids = ids.clone();
        ids.rotate_left(claimer * 4);
        async move {
            let mut mine = Vec::new();
            for batch in ids.chunks(1 + claimer % 17) {
                mine.extend(
                    claims::claim(&pool, Uuid::now_v7(), batch, NO_LIMITS)
                        .await
                        .unwrap(),
                );
            }
            mine
        }
    });
    let mut runs = Vec::new();
    let mut tokens = HashSet::new();
    for claimed in join_all(claimers).await {
        for lease in claimed {
            runs.push(lease.run_id);
            tokens.insert(lease.token);
        }
    }
    runs.sort();
    let mut expected = ids;
    expected.sort();
    assert_eq!(runs, expected);
    assert_eq!(tokens.len(), 200, "every lease has its own token");
    let once = "SELECT count(*) FROM runs WHERE status = 'running' AND attempt = 1 AND epoch = 1";
    assert_eq!(db.database.count(once).await, 200);
}

#[tokio::test]
async fn run_behind_an_open_run_is_not_claimed() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let first = db.start_conversation(ada, "one").await;
    let second = db.continue_conversation(&first, "two").await;
    let third = db.continue_conversation(&first, "three").await;
    assert_eq!(ready(db.pool(), 10).await, [first.run_id]);
    let both = claims::claim(
        db.pool(),
        Uuid::now_v7(),
        &[third.run_id, second.run_id, first.run_id],
        NO_LIMITS,
    )
    .await;
    let both = both.unwrap();
    assert_eq!(both.len(), 1, "also within one batch");
    assert_eq!(both[0].run_id, first.run_id);
    assert!(
        db.try_claim(second.run_id).await.is_none(),
        "behind a running run"
    );
    db.database
        .execute("UPDATE runs SET status = 'waiting_approval', lease_token = NULL, worker_id = NULL WHERE status = 'running'")
        .await
        .unwrap();
    assert!(
        db.try_claim(second.run_id).await.is_none(),
        "behind a run that awaits approval"
    );
    db.database
        .execute("UPDATE runs SET status = 'queued' WHERE status = 'waiting_approval'")
        .await
        .unwrap();
    db.answer(&first, "One.").await;
    assert!(db.try_claim(third.run_id).await.is_none(), "behind a queued run");
    assert!(db.try_claim(second.run_id).await.is_some());
}

#[tokio::test]
async fn running_run_does_not_delay_other_conversations() {
    let db = TestDb::new().await;
    let (ada, eve) = (db.user("Ada").await, db.user("Eve").await);
    let first = db.start_conversation(ada, "one").await;
    db.claim(first.run_id).await;
    assert!(
        db.try_claim(db.start_conversation(ada, "another conversation").await.run_id)
            .await
            .is_some()
    );
    assert!(
        db.try_claim(db.start_conversation(eve, "another user").await.run_id)
            .await
            .is_some()
    );
}

#[tokio::test]
async fn run_that_is_not_due_is_not_claimed() {
    let db = TestDb::new().await;
    let post = db.start_conversation(db.user("Ada").await, "hi").await;
    db.database
        .execute("UPDATE runs SET available_at = now() + interval '1 hour'")
        .await
        .unwrap();
    assert!(db.try_claim(post.run_id).await.is_none());
    assert!(ready(db.pool(), 10).await.is_empty());
    assert!(
        claims::ready_page(db.pool(), Uuid::nil(), 10)
            .await
            .unwrap()
            .is_empty()
    );
    db.database
        .execute("UPDATE runs SET available_at = now()")
        .await
        .unwrap();
    assert!(db.try_claim(post.run_id).await.is_some());
}

#[tokio::test]
async fn claim_returns_user_message_and_deadline() {
    let db = TestDb::new().await;
    let ada = db.user("Ada Lovelace").await;
    let post = db
        .start_conversation(ada, "Buy milk, \u{1f980} and \"eggs\"")
        .await;
    let bounds = ClaimBounds {
        deadline_seconds: 90.0,
        ..NO_LIMITS
    };
    let lease = claims::claim(db.pool(), Uuid::now_v7(), &[post.run_id], bounds)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(lease.user_name, "Ada Lovelace");
    assert_eq!(lease.user_id, ada);
    assert_eq!(lease.conversation_id, post.conversation_id);
    assert_eq!(lease.message, post.content);
    assert_eq!((lease.attempt, lease.epoch, lease.failures), (1, 1, 0));
    assert!(!lease.cancel_requested);
    assert!(lease.history.is_empty() && lease.journal.is_empty());
    assert_eq!((lease.deadline_at - lease.now).num_seconds(), 90);

    assert!(
        claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap()
            .is_some()
    );
    let again = db.claim(post.run_id).await;
    assert_eq!((again.attempt, again.epoch), (2, 3));
    assert_ne!(again.token, lease.token);
    assert_eq!(
        again.deadline_at, lease.deadline_at,
        "the deadline counts from the first claim"
    );
}

#[tokio::test]
async fn claim_returns_the_newest_turns_within_its_limits() {
    let db = TestDb::new().await;
    let first = db.start_conversation(db.user("Ada").await, "message 0").await;
    db.answer(&first, "reply 0").await;
    for turn in 1..6 {
        let post = db.continue_conversation(&first, &format!("message {turn}")).await;
        db.answer(&post, &format!("reply {turn}")).await;
    }
    let last = db.continue_conversation(&first, "now").await;
    let turn_bytes = i64::try_from("message 0reply 0".len()).unwrap();
    let cases = [
        (1000, 1_000_000, 6),
        (2, 1_000_000, 2),
        (0, 1_000_000, 0),
        (1000, turn_bytes * 3, 3),
        (1000, turn_bytes * 3 - 1, 2),
        (1000, 0, 0),
        (4, turn_bytes * 5, 4),
    ];
    for (history_turns, history_bytes, kept) in cases {
        let bounds = ClaimBounds {
            history_turns,
            history_bytes,
            ..NO_LIMITS
        };
        let lease = claims::claim(db.pool(), Uuid::now_v7(), &[last.run_id], bounds)
            .await
            .unwrap()
            .remove(0);
        let contents: Vec<_> = lease
            .history
            .iter()
            .map(|turn| turn.messages[0].content.clone())
            .collect();
        let expected: Vec<_> = (6 - kept..6).map(|turn| format!("message {turn}")).collect();
        assert_eq!(contents, expected, "{bounds:?}");
        for turn in &lease.history {
            assert_eq!(turn.status, "succeeded");
            let roles: Vec<_> = turn
                .messages
                .iter()
                .map(|message| message.role.as_str())
                .collect();
            assert_eq!(roles, ["user", "assistant"]);
        }
        assert!(
            claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
                .await
                .unwrap()
                .is_some()
        );
    }
}

fn call(id: &str, title: &str) -> RecordedCall {
    RecordedCall {
        tool_call_id: id.to_owned(),
        tool_name: "add_task".to_owned(),
        arguments: json!({"title": title}),
        result: json!({"success": true, "title": title}),
        success: true,
    }
}

#[tokio::test]
async fn claim_returns_the_journal_and_later_turns_return_its_calls() {
    let db = TestDb::new().await;
    let post = db
        .start_conversation(db.user("Ada").await, "milk and eggs, then tea")
        .await;
    let lease = db.claim(post.run_id).await;
    for (number, calls) in [
        (0, vec![call("a", "milk"), call("b", "eggs")]),
        (1, vec![call("c", "tea")]),
    ] {
        let mut connection = db.pool().acquire().await.unwrap();
        let mut transaction = steps::begin(&mut connection, lease.run_id, lease.token, lease.user_id)
            .await
            .unwrap();
        let recorded = steps::record(
            &mut transaction,
            lease.run_id,
            lease.token,
            &step(number, 10, 1),
            &calls,
        )
        .await;
        assert_eq!(
            recorded.unwrap(),
            RecordOutcome::Written {
                cancel_requested: false
            }
        );
        transaction.commit().await.unwrap();
    }
    assert!(
        claims::release(db.pool(), lease.run_id, lease.token, None, 0.0)
            .await
            .unwrap()
            .is_some()
    );

    let again = db.claim(post.run_id).await;
    let journal: Vec<Vec<_>> = again
        .journal
        .iter()
        .map(|step| {
            step.calls
                .iter()
                .map(|call| (call.tool_call_id.as_str(), &call.arguments["title"]))
                .collect()
        })
        .collect();
    assert_eq!(
        journal,
        [
            vec![("a", &json!("milk")), ("b", &json!("eggs"))],
            vec![("c", &json!("tea"))]
        ]
    );
    assert_eq!(again.journal[1].step, 1);
    assert_eq!(
        again.journal[0].calls[1].result,
        json!({"success": true, "title": "eggs"})
    );
    assert_eq!(
        (again.journal[0].prompt_tokens, again.journal[0].completion_tokens),
        (10, 1)
    );

    db.finish(&reply_to(&again, "Done.")).await.unwrap();
    let next = db.continue_conversation(&post, "thanks").await;
    let later = db.claim(next.run_id).await;
    let roles: Vec<_> = later.history[0]
        .messages
        .iter()
        .map(|message| message.role.as_str())
        .collect();
    assert_eq!(roles, ["user", "tool", "tool", "tool", "assistant"]);
    assert_eq!(later.history[0].messages[3].tool_call_id.as_deref(), Some("c"));
    assert_eq!(
        later.history[0].messages[3].metadata,
        json!({"step": 1, "arguments": {"title": "tea"}})
    );
}

#[tokio::test]
async fn index_rejects_a_second_executing_run_of_a_conversation() {
    let db = TestDb::new().await;
    let first = db.start_conversation(db.user("Ada").await, "one").await;
    let second = db.continue_conversation(&first, "two").await;
    db.claim(first.run_id).await;
    for status in ["running", "waiting_approval"] {
        let fields = if status == "running" {
            "gen_random_uuid()"
        } else {
            "NULL"
        };
        let update = format!(
            "UPDATE runs SET status = '{status}', lease_token = {fields}, worker_id = {fields}, deadline_at = now() \
             WHERE id = '{}'",
            second.run_id
        );
        let rejected = db.database.execute(&update).await.unwrap_err();
        assert!(
            errand_shared::storage::violates(&rejected, "runs_one_at_a_time"),
            "{status}: {rejected}"
        );
    }
}

#[tokio::test]
async fn many_claimers_execute_one_conversation_in_order() {
    let db = TestDb::new().await;
    let first = db.start_conversation(db.user("Ada").await, "0").await;
    let posts: Vec<_> = (1..20)
        .map(|number| next_post(&first, &number.to_string()))
        .collect();
    errand_shared::storage::queue::posts::store_batch(db.pool(), &posts, 0)
        .await
        .unwrap();
    let ids: Vec<_> = std::iter::once(first.run_id)
        .chain(posts.iter().map(|post| post.run_id))
        .collect();
    let claimers: Vec<_> = (0..8)
        .map(|_| {
            let (pool, ids) = (db.pool().clone(), ids.clone());
            async move {
                let mut done = Vec::new();
                while !ready(&pool, 1).await.is_empty() {
                    for lease in claims::claim(&pool, Uuid::now_v7(), &ids, NO_LIMITS)
                        .await
                        .unwrap()
                    {
                        let finish = reply_to(&lease, "ok");
                        errand_shared::storage::runs::finish::finish_batch(&pool, &[finish])
                            .await
                            .unwrap();
                        done.push(lease.run_id);
                    }
                }
                done
            }
        })
        .collect();
    let mut done = join_all(claimers).await.concat();
    // A claimer may stop while another claimer's run executes. This executes the remaining runs.
    for id in &ids {
        if let Some(lease) = db.try_claim(*id).await {
            db.finish(&reply_to(&lease, "ok")).await.unwrap();
            done.push(lease.run_id);
        }
    }
    assert_eq!(done.len(), 20);
    let replies = "SELECT r.seq::text FROM messages m JOIN runs r ON r.id = m.run_id WHERE m.role = 'assistant' ORDER BY m.seq";
    let order = db.database.texts(replies).await;
    assert_eq!(order, (1..=20).map(|seq| seq.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn search_for_ready_runs_is_fair_between_users() {
    let db = TestDb::new().await;
    let ada = db.user("Ada").await;
    let many: Vec<_> = (0..50).map(|_| first_post(ada, "hi")).collect();
    errand_shared::storage::queue::posts::store_batch(db.pool(), &many, 0)
        .await
        .unwrap();
    let bob = db.user("Bob").await;
    let one = db.start_conversation(bob, "hi").await;
    db.database
        .execute("UPDATE runs SET ring_at = now() - interval '1 hour' WHERE user_id <> (SELECT id FROM users WHERE name = 'Bob')")
        .await
        .unwrap();
    let found = claims::find_ready(db.pool(), Uuid::nil(), 2).await.unwrap();
    let users: HashSet<_> = found.iter().map(|run| run.user_id).collect();
    assert_eq!(
        users,
        HashSet::from([ada, bob]),
        "every user's first run comes before any user's second"
    );
    claims::claim(db.pool(), Uuid::now_v7(), &[many[0].run_id], NO_LIMITS)
        .await
        .unwrap();
    assert_eq!(
        ready(db.pool(), 1).await,
        [one.run_id],
        "users with fewer running runs come first"
    );
    let after = claims::find_ready(db.pool(), ada, 100).await.unwrap();
    assert_eq!(after.len(), 1, "the search starts after the given user");
}
