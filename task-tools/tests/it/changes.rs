//! Adding, completing, updating and deleting.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::user::User;

fn members(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .map(|object| object.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

#[sqlx::test(migrations = "../migrations")]
async fn added_task_is_returned_unchanged(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let title = "  Купить 牛乳 🥛👩‍👩‍👧 naïve\n\t\"x\" \\ % _ ";
    let result = ann
        .succeeds("add_task", json!({"title": title, "description": "für Zoë 🦀"}))
        .await;
    assert_eq!(members(&result), ["success", "task", "message"]);
    let task = &result["task"];
    assert_eq!(
        members(task),
        [
            "id",
            "title",
            "description",
            "completed",
            "created_at",
            "updated_at"
        ]
    );
    assert_eq!(task["id"], json!(1));
    assert_eq!(task["title"], json!(title));
    assert_eq!(task["description"], json!("für Zoë 🦀"));
    assert_eq!(task["completed"], json!(false));
    assert_eq!(task["created_at"], task["updated_at"]);
    assert!(task["created_at"].as_str().unwrap().ends_with('Z'), "{task}");
    let listed = ann.succeeds("list_tasks", json!({})).await;
    assert_eq!(listed["tasks"], json!([task]));
}

#[sqlx::test(migrations = "../migrations")]
async fn limits_are_in_characters(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let (title, description) = ("🦀".repeat(255), "李".repeat(2000));
    let result = ann
        .succeeds("add_task", json!({"title": title, "description": description}))
        .await;
    assert_eq!(result["task"]["title"], json!(title));
    assert_eq!(result["task"]["description"], json!(description));
}

#[sqlx::test(migrations = "../migrations")]
async fn missing_or_empty_description_is_null(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    for arguments in [
        json!({"title": "a"}),
        json!({"title": "a", "description": null}),
        json!({"title": "a", "description": ""}),
        json!({"title": "a", "description": "\0"}),
    ] {
        let result = ann.succeeds("add_task", arguments).await;
        assert_eq!(result["task"]["description"], Value::Null);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn removes_u0000_and_ignores_unknown_members(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let arguments = json!({"title": "mi\0lk", "priority": "high", "nested": {"a\0": ["\0"]}});
    let result = ann.succeeds("add_task", arguments).await;
    assert_eq!(result["task"]["title"], json!("milk"));
}

#[sqlx::test(migrations = "../migrations")]
async fn task_numbers_are_never_reused(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    assert_eq!(ann.adds("a").await, 1);
    assert_eq!(ann.adds("b").await, 2);
    ann.succeeds("delete_task", json!({"task_id": 2})).await;
    assert_eq!(ann.adds("c").await, 3);
    for id in [1, 3] {
        ann.succeeds("delete_task", json!({"task_id": id})).await;
    }
    assert_eq!(ann.adds("d").await, 4);
}

#[sqlx::test(migrations = "../migrations")]
async fn concurrent_additions_have_consecutive_numbers(pool: PgPool) {
    let (ann, bob) = (User::new(&pool, 1).await, User::new(&pool, 2).await);
    let adds = (0..40).map(|n| if n % 2 == 0 { ann.adds("a") } else { bob.adds("b") });
    let mut numbers = join_all(adds).await;
    numbers.sort_unstable();
    let expected: Vec<i64> = (1..=20).flat_map(|number| [number, number]).collect();
    assert_eq!(numbers, expected);
}

#[sqlx::test(migrations = "../migrations")]
async fn completing_is_idempotent_and_reversible(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    ann.adds("milk").await;
    let first = ann.succeeds("complete_task", json!({"task_id": 1})).await;
    assert_eq!(members(&first), ["success", "task", "message"]);
    assert_eq!(first["task"]["completed"], json!(true));
    assert!(first["task"]["updated_at"].as_str() > first["task"]["created_at"].as_str());
    let again = ann
        .succeeds("complete_task", json!({"task_id": "1", "completed": null}))
        .await;
    assert_eq!(again, first, "updated_at is unchanged if nothing changes");
    let reopened = ann
        .succeeds("complete_task", json!({"task_id": 1.0, "completed": false}))
        .await;
    assert_eq!(reopened["task"]["completed"], json!(false));
    assert!(reopened["message"].as_str().unwrap().contains("is now open"));
}

#[sqlx::test(migrations = "../migrations")]
async fn update_changes_only_given_members(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    ann.succeeds("add_task", json!({"title": "milk", "description": "two litres"}))
        .await;
    ann.succeeds("complete_task", json!({"task_id": 1})).await;
    let cases = [
        (
            json!({"title": "oat milk 🥛"}),
            json!(["oat milk 🥛", "two litres"]),
        ),
        (json!({"description": "three"}), json!(["oat milk 🥛", "three"])),
        (
            json!({"title": "tea", "description": "green"}),
            json!(["tea", "green"]),
        ),
        (json!({"title": null, "description": ""}), json!(["tea", null])),
        (json!({"description": ""}), json!(["tea", null])),
    ];
    let mut previous = Value::Null;
    for (mut arguments, expected) in cases {
        arguments["task_id"] = json!(1);
        let result = ann.succeeds("update_task", arguments.clone()).await;
        let task = &result["task"];
        assert_eq!(
            json!([task["title"], task["description"]]),
            expected,
            "{arguments}"
        );
        assert_eq!(task["completed"], json!(true));
        previous = result;
    }
    let same = ann
        .succeeds("update_task", json!({"task_id": 1, "title": "tea"}))
        .await;
    assert_eq!(same, previous, "updated_at is unchanged if nothing changes");
}

#[sqlx::test(migrations = "../migrations")]
async fn deleted_task_is_returned_and_removed(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    ann.adds("milk 🥛").await;
    ann.adds("tea").await;
    let result = ann.succeeds("delete_task", json!({"task_id": 1})).await;
    assert_eq!(members(&result), ["success", "deleted_task", "message"]);
    assert_eq!(result["deleted_task"], json!({"id": 1, "title": "milk 🥛"}));
    assert_eq!(members(&result["deleted_task"]), ["id", "title"]);
    assert_eq!(ann.titles(json!({})).await, ["tea"]);
    assert_eq!(
        ann.fails("delete_task", json!({"task_id": 1})).await,
        "TASK_NOT_FOUND"
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn user_id_argument_is_ignored(pool: PgPool) {
    let (ann, bob) = (User::new(&pool, 1).await, User::new(&pool, 2).await);
    ann.adds("Ann's").await;
    for name in ["complete_task", "delete_task"] {
        let arguments = json!({"task_id": 1, "user_id": ann.id});
        assert_eq!(bob.fails(name, arguments).await, "TASK_NOT_FOUND");
    }
    let arguments = json!({"task_id": 1, "title": "Bob's", "user_id": ann.id});
    assert_eq!(bob.fails("update_task", arguments).await, "TASK_NOT_FOUND");
    assert!(bob.titles(json!({"user_id": ann.id})).await.is_empty());

    let added = bob
        .succeeds("add_task", json!({"title": "Bob's", "user_id": ann.id}))
        .await;
    assert_eq!(added["task"]["id"], json!(1), "each user's numbers start at 1");
    bob.succeeds("delete_task", json!({"task_id": 1})).await;
    assert_eq!(ann.titles(json!({})).await, ["Ann's"]);
    assert_eq!(
        ann.succeeds("list_tasks", json!({})).await["tasks"][0]["completed"],
        json!(false)
    );
}
