//! Steps of several runs in one transaction: each under its own lease.

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, Fence, RecordOutcome, RecordedCall, StepEntry},
        queue::claims::{self, Lease},
    },
};
use serde_json::json;

use crate::test_db::{TestDb, step};

fn fence(lease: &Lease) -> Fence {
    Fence {
        run_id: lease.run_id,
        token: lease.token,
        user_id: lease.user_id,
    }
}

fn call(id: &str) -> RecordedCall {
    RecordedCall {
        tool_call_id: id.to_owned(),
        tool_name: "add_task".to_owned(),
        arguments: json!({"title": id}),
        result: json!({"success": true}),
        success: true,
    }
}

const WRITTEN: RecordOutcome = RecordOutcome::Written {
    cancel_requested: false,
};

#[tokio::test]
async fn each_step_of_a_batch_is_fenced_by_its_own_lease() {
    let db = TestDb::new().await;
    let mut leases = Vec::new();
    for name in ["Ada", "Bob", "Eve", "Joe"] {
        let post = db.start_conversation(db.user(name).await, "milk").await;
        leases.push(db.claim(post.run_id).await);
    }
    // Given that Bob's run was claimed by another worker, which also writes, and that Joe's step is not the next one.
    let [_, bob, _, _] = leases.as_slice() else {
        panic!("four leases");
    };
    claims::release(db.pool(), bob.run_id, bob.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    leases.push(db.claim(bob.run_id).await);

    let records = [0, 0, 0, 3, 0].map(|number| step(number, 10, 1));
    let calls = [
        vec![call("a")],
        vec![call("lost")],
        vec![],
        vec![call("joe")],
        vec![call("b"), call("c")],
    ];
    let entries: Vec<_> = leases
        .iter()
        .zip(&records)
        .zip(&calls)
        .map(|((lease, step), calls)| StepEntry {
            run_id: lease.run_id,
            token: lease.token,
            step,
            calls,
        })
        .collect();
    let fences: Vec<_> = leases.iter().map(fence).collect();
    let mut connection = db.pool().acquire().await.unwrap();
    let mut transaction = steps::begin_all(&mut connection, &fences).await.unwrap();
    let recorded = steps::record_all(&mut transaction, &entries).await.unwrap();
    assert_eq!(
        recorded,
        [
            WRITTEN,
            RecordOutcome::LeaseLost,
            WRITTEN,
            RecordOutcome::LeaseLost,
            WRITTEN
        ]
    );
    transaction.commit().await.unwrap();
    drop(connection);

    assert_eq!(db.database.count("SELECT count(*) FROM steps").await, 3);
    let calls = "SELECT concat_ws(' ', u.name, k.call_index, k.tool_call_id) FROM tool_calls k \
                 JOIN runs r ON r.id = k.run_id JOIN users u ON u.id = r.user_id ORDER BY u.name, k.call_index";
    assert_eq!(db.database.texts(calls).await, ["Ada 0 a", "Bob 0 b", "Bob 1 c"]);
}

#[tokio::test]
async fn cancellation_is_reported_only_for_its_own_run() {
    let db = TestDb::new().await;
    let mut leases = Vec::new();
    for name in ["Ada", "Bob"] {
        let post = db.start_conversation(db.user(name).await, "milk").await;
        leases.push(db.claim(post.run_id).await);
    }
    let cancelled: Uuid = leases[1].run_id;
    let cancel = format!("UPDATE runs SET cancel_requested_at = now() WHERE id = '{cancelled}'");
    db.database.execute(&cancel).await.unwrap();
    let record = step(0, 10, 1);
    let entries: Vec<_> = leases
        .iter()
        .map(|lease| StepEntry {
            run_id: lease.run_id,
            token: lease.token,
            step: &record,
            calls: &[],
        })
        .collect();
    let mut connection = db.pool().acquire().await.unwrap();
    let recorded = steps::record_all(&mut connection, &entries).await.unwrap();
    let asked = RecordOutcome::Written {
        cancel_requested: true,
    };
    assert_eq!(recorded, [WRITTEN, asked]);
    drop(connection);
}
