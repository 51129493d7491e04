//! Listing: filters, search and pagination.

use serde_json::json;
use sqlx::PgPool;

use crate::user::User;

#[sqlx::test(migrations = "../migrations")]
async fn empty_list_succeeds(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let result = ann.succeeds("list_tasks", json!({})).await;
    assert_eq!(
        result.to_string(),
        r#"{"success":true,"tasks":[],"total":0,"message":"Found 0 tasks."}"#
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn filters_and_search_apply_to_list_and_total(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    for (title, description) in [
        ("Buy Milk", ""),
        ("100% done", "back\\slash"),
        ("under_score", "ÄPFEL und Birnen"),
        ("Позвонить маме", "buy flowers"),
    ] {
        ann.succeeds("add_task", json!({"title": title, "description": description}))
            .await;
    }
    ann.succeeds("complete_task", json!({"task_id": 2})).await;
    let cases = [
        (json!({}), vec![1, 2, 3, 4]),
        (json!({"completed": true}), vec![2]),
        (json!({"completed": false}), vec![1, 3, 4]),
        (json!({"completed": "true"}), vec![2]),
        (
            json!({"completed": null, "search": null, "limit": null, "offset": null}),
            vec![1, 2, 3, 4],
        ),
        (json!({"search": "bUy"}), vec![1, 4]),
        (json!({"search": "äpfel"}), vec![3]),
        (json!({"search": "МАМЕ"}), vec![4]),
        (json!({"search": "%"}), vec![2]),
        (json!({"search": "_"}), vec![3]),
        (json!({"search": "\\"}), vec![2]),
        (json!({"search": "'; DROP TABLE tasks; --"}), vec![]),
        (json!({"search": " "}), vec![1, 2, 3, 4]),
        (json!({"search": "\0"}), vec![1, 2, 3, 4]),
        (json!({"search": "buy", "completed": true}), vec![]),
        (json!({"search": "buy", "limit": 1}), vec![1]),
    ];
    for (arguments, expected) in cases {
        let result = ann.succeeds("list_tasks", arguments.clone()).await;
        let ids: Vec<i64> = result["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids, expected, "{arguments}");
        let total = if arguments.get("limit") == Some(&json!(1)) {
            2
        } else {
            expected.len()
        };
        assert_eq!(result["total"], json!(total), "{arguments}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn pages_are_ordered_and_have_the_total(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    for n in 1..=103 {
        ann.adds(&format!("t{n}")).await;
    }
    // Arguments, number of tasks on the page, title of the first one.
    let cases = [
        (json!({}), 50, Some("t1")),
        (json!({"limit": 100}), 100, Some("t1")),
        (json!({"limit": "3", "offset": 100.0}), 3, Some("t101")),
        (json!({"limit": 3, "offset": 102}), 1, Some("t103")),
        (json!({"offset": 103}), 0, None),
        (json!({"offset": i64::MAX}), 0, None),
    ];
    for (arguments, count, first) in cases {
        let result = ann.succeeds("list_tasks", arguments.clone()).await;
        let tasks = result["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), count, "{arguments}");
        assert_eq!(
            tasks.first().map(|task| &task["title"]),
            first.map(|title| json!(title)).as_ref()
        );
        assert_eq!(result["total"], json!(103), "{arguments}");
        let message = format!("Found 103 tasks; this page shows {count}.");
        assert_eq!(result["message"], json!(message));
    }
}
