//! Steps of several runs in one transaction: each under its own lease.

use errand_shared::{
    Uuid,
    storage::{
        journal::steps::{self, CallRecord, Entry, Fence, RecordOutcome},
        queue::claims::{self, Lease},
    },
};
use serde_json::json;

use crate::book::{Book, step};

fn fence(lease: &Lease) -> Fence {
    Fence {
        run_id: lease.run_id,
        token: lease.token,
        user_id: lease.user_id,
    }
}

fn call(id: &str) -> CallRecord {
    CallRecord {
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
async fn of_steps_written_together_each_is_told_whether_its_own_lease_held() {
    let book = Book::new().await;
    let mut leases = Vec::new();
    for name in ["Ada", "Bob", "Eve", "Joe"] {
        let post = book.begin(book.user(name).await, "milk").await;
        leases.push(book.claim(post.run_id).await);
    }
    // Bob's run has gone to another, which is one of those that write; Joe's step is not the next one.
    let [_, bob, _, _] = leases.as_slice() else {
        panic!("four leases");
    };
    claims::release(book.pool(), bob.run_id, bob.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    leases.push(book.claim(bob.run_id).await);

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
        .map(|((lease, step), calls)| Entry {
            run_id: lease.run_id,
            token: lease.token,
            step,
            calls,
        })
        .collect();
    let fences: Vec<_> = leases.iter().map(fence).collect();
    let mut connection = book.pool().acquire().await.unwrap();
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

    assert_eq!(book.database.count("SELECT count(*) FROM steps").await, 3);
    let calls = "SELECT concat_ws(' ', u.name, k.call_index, k.tool_call_id) FROM tool_calls k \
                 JOIN runs r ON r.id = k.run_id JOIN users u ON u.id = r.user_id ORDER BY u.name, k.call_index";
    assert_eq!(
        book.database.texts(calls).await,
        ["Ada 0 a", "Bob 0 b", "Bob 1 c"]
    );
}

#[tokio::test]
async fn a_wish_to_cancel_is_told_to_the_one_whose_run_it_is() {
    let book = Book::new().await;
    let mut leases = Vec::new();
    for name in ["Ada", "Bob"] {
        let post = book.begin(book.user(name).await, "milk").await;
        leases.push(book.claim(post.run_id).await);
    }
    let cancelled: Uuid = leases[1].run_id;
    let cancel = format!("UPDATE runs SET cancel_requested_at = now() WHERE id = '{cancelled}'");
    book.database.execute(&cancel).await.unwrap();
    let record = step(0, 10, 1);
    let entries: Vec<_> = leases
        .iter()
        .map(|lease| Entry {
            run_id: lease.run_id,
            token: lease.token,
            step: &record,
            calls: &[],
        })
        .collect();
    let mut connection = book.pool().acquire().await.unwrap();
    let recorded = steps::record_all(&mut connection, &entries).await.unwrap();
    let asked = RecordOutcome::Written {
        cancel_requested: true,
    };
    assert_eq!(recorded, [WRITTEN, asked]);
    drop(connection);
}
