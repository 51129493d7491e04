//! Failed calls and their error codes.

use errand_shared::Uuid;
use errand_task_tools::{call, specs};
use serde_json::{Map, json};
use sqlx::{Acquire, PgPool};

use crate::user::{User, object};

#[sqlx::test(migrations = "../migrations")]
async fn invalid_arguments_are_validation_errors(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    ann.adds("milk").await;
    let cases = [
        ("add_task", json!({})),
        ("add_task", json!({"title": null})),
        ("add_task", json!({"title": ""})),
        ("add_task", json!({"title": " \n\u{3000}"})),
        ("add_task", json!({"title": "\0"})),
        ("add_task", json!({"title": 5})),
        ("add_task", json!({"title": "é".repeat(256)})),
        ("add_task", json!({"title": "a", "description": "é".repeat(2001)})),
        ("add_task", json!({"title": "a", "description": ["b"]})),
        ("list_tasks", json!({"limit": 0})),
        ("list_tasks", json!({"limit": 101})),
        ("list_tasks", json!({"limit": "many"})),
        ("list_tasks", json!({"offset": -1})),
        ("list_tasks", json!({"offset": 1.5})),
        ("list_tasks", json!({"completed": "perhaps"})),
        ("list_tasks", json!({"search": "é".repeat(256)})),
        ("list_tasks", json!({"search": true})),
        ("complete_task", json!({})),
        ("complete_task", json!({"task_id": null})),
        ("complete_task", json!({"task_id": 0})),
        ("complete_task", json!({"task_id": -1})),
        ("complete_task", json!({"task_id": "first"})),
        ("complete_task", json!({"task_id": 1, "completed": 1})),
        ("update_task", json!({"title": "a"})),
        ("update_task", json!({"task_id": 1})),
        (
            "update_task",
            json!({"task_id": 1, "title": null, "description": null}),
        ),
        ("update_task", json!({"task_id": 1, "title": " "})),
        ("update_task", json!({"task_id": 1, "title": "é".repeat(256)})),
        (
            "update_task",
            json!({"task_id": 1, "description": "é".repeat(2001)}),
        ),
        ("delete_task", json!({})),
        ("delete_task", json!({"task_id": {"id": 1}})),
    ];
    for (name, arguments) in cases {
        assert_eq!(
            ann.fails(name, arguments.clone()).await,
            "VALIDATION_ERROR",
            "{name} {arguments}"
        );
    }
    assert_eq!(ann.titles(json!({})).await, ["milk"], "nothing changed");
}

#[sqlx::test(migrations = "../migrations")]
async fn missing_task_is_not_found(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    for id in [json!(1), json!(99), json!("99"), json!(i64::MAX)] {
        for name in ["complete_task", "update_task", "delete_task"] {
            let arguments = json!({"task_id": id, "title": "a"});
            assert_eq!(ann.fails(name, arguments).await, "TASK_NOT_FOUND", "{name} {id}");
        }
    }
    let result = ann
        .call("delete_task", json!({"task_id": 99}))
        .await
        .result
        .to_string();
    let expected = r#"{"success":false,"error":"TASK_NOT_FOUND: There is no task 99.","message":"There is no task 99."}"#;
    assert_eq!(result, expected);
}

#[sqlx::test(migrations = "../migrations")]
async fn unknown_tool_error_lists_available_tools(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    for name in [
        "",
        "drop_tables",
        "ADD_TASK",
        "add_task ",
        "\0",
        &"x".repeat(5_000),
    ] {
        assert_eq!(
            ann.fails(name, json!({"title": "a"})).await,
            "UNKNOWN_TOOL",
            "{name:?}"
        );
    }
    let result = ann.call("drop_tables", json!({})).await.result.to_string();
    for spec in specs() {
        assert!(result.contains(spec.name), "{result}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn savepoint_undoes_a_database_error(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let mut transaction = pool.begin().await.unwrap();
    let mut savepoint = transaction.begin().await.unwrap();
    let missing_user = Uuid::from_u128(7);
    let arguments = object(json!({"title": "a"}));
    assert!(
        call(&mut savepoint, missing_user, "add_task", &arguments)
            .await
            .is_err(),
        "there is no such user"
    );
    savepoint.rollback().await.unwrap();
    assert!(
        call(&mut transaction, ann.id, "add_task", &arguments)
            .await
            .unwrap()
            .success
    );
    transaction.commit().await.unwrap();
    assert_eq!(ann.titles(json!({})).await, ["a"]);
}

#[sqlx::test(migrations = "../migrations")]
async fn rollback_undoes_a_call(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let mut transaction = pool.begin().await.unwrap();
    let arguments = object(json!({"title": "a"}));
    call(&mut transaction, ann.id, "add_task", &arguments)
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    assert!(ann.titles(json!({})).await.is_empty());
    assert_eq!(ann.adds("b").await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn every_specified_tool_can_be_called(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let mut conn = pool.acquire().await.unwrap();
    for spec in specs() {
        let outcome = call(&mut conn, ann.id, spec.name, &Map::new()).await.unwrap();
        assert!(
            !outcome.result.to_string().contains("UNKNOWN_TOOL"),
            "{}",
            spec.name
        );
    }
}
