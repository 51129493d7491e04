//! Calls executed together have the same outcomes as individual calls.

use errand_task_tools::{ToolOutcome, call_all};
use serde_json::{Map, Value, json};
use sqlx::PgPool;

use crate::user::{User, object};

/// The calls of two users in one batch.
fn calls() -> Vec<(usize, &'static str, Map<String, Value>)> {
    [
        (0, "add_task", json!({"title": "milk"})),
        (1, "list_tasks", json!({})),
        (0, "add_task", json!({"title": "eggs", "description": "six"})),
        (1, "add_task", json!({"title": "tea"})),
        (0, "complete_task", json!({"task_id": 2})),
        (0, "add_task", json!({"title": " "})),
        (1, "add_task", json!({"title": "sugar", "description": ""})),
        (0, "list_tasks", json!({"completed": true})),
        (0, "add_task", json!({"title": "bread"})),
        (1, "drop_tables", json!({})),
        (1, "update_task", json!({"task_id": 2, "title": "salt"})),
        (0, "delete_task", json!({"task_id": 1})),
        (0, "list_tasks", json!({})),
        (1, "list_tasks", json!({})),
    ]
    .into_iter()
    .map(|(user, name, arguments)| (user, name, object(arguments)))
    .collect()
}

/// The results without timestamps.
fn without_times(outcomes: &[ToolOutcome]) -> Vec<String> {
    fn remove_times(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, _| !name.ends_with("_at"));
                members.values_mut().for_each(remove_times);
            }
            Value::Array(items) => items.iter_mut().for_each(remove_times),
            _ => {}
        }
    }
    outcomes
        .iter()
        .map(|outcome| {
            let mut result = outcome.result.clone();
            remove_times(&mut result);
            result.to_string()
        })
        .collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn batch_has_the_outcomes_of_individual_calls(pool: PgPool) {
    let individual = [User::new(&pool, 1).await, User::new(&pool, 2).await];
    let together = [User::new(&pool, 3).await, User::new(&pool, 4).await];
    let calls = calls();
    let mut expected = Vec::new();
    for (user, name, arguments) in &calls {
        expected.push(
            individual[*user]
                .call(name, Value::Object(arguments.clone()))
                .await,
        );
    }
    let calls: Vec<_> = calls
        .iter()
        .map(|(user, name, arguments)| (together[*user].id, *name, arguments))
        .collect();
    let mut connection = pool.acquire().await.unwrap();
    let outcomes = call_all(&mut connection, &calls).await.unwrap();
    assert_eq!(without_times(&outcomes), without_times(&expected));
    assert_eq!(together[0].titles(json!({})).await, ["eggs", "bread"]);
    assert_eq!(together[1].titles(json!({})).await, ["tea", "salt"]);
}
