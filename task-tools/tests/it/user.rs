//! A user with a to-do list, and helpers to call tools for this user.
#![expect(clippy::expect_used, reason = "failing helpers fail the test")]

use errand_shared::{Uuid, storage::users};
use errand_task_tools::{ToolOutcome, call};
use serde_json::{Map, Value};
use sqlx::PgPool;

pub(crate) struct User<'a> {
    pub(crate) id: Uuid,
    pool: &'a PgPool,
}

impl<'a> User<'a> {
    pub(crate) async fn new(pool: &'a PgPool, id: u128) -> Self {
        let id = Uuid::from_u128(id);
        let email = format!("{id}@example.org");
        users::create(pool, id, &email, "Ann", "hash", "user")
            .await
            .expect("a user")
            .expect("a new one");
        Self { id, pool }
    }

    pub(crate) async fn call(&self, name: &str, arguments: Value) -> ToolOutcome {
        let mut conn = self.pool.acquire().await.expect("a connection");
        call(&mut conn, self.id, name, &object(arguments))
            .await
            .expect("no fault")
    }

    /// Calls a tool that must succeed. Returns the result.
    pub(crate) async fn succeeds(&self, name: &str, arguments: Value) -> Value {
        let outcome = self.call(name, arguments).await;
        assert!(outcome.success, "{name}: {}", outcome.result);
        assert_eq!(outcome.result.get("success"), Some(&Value::Bool(true)));
        outcome.result
    }

    /// Calls a tool that must fail. Returns the error code.
    pub(crate) async fn fails(&self, name: &str, arguments: Value) -> String {
        let outcome = self.call(name, arguments.clone()).await;
        assert!(!outcome.success, "{name} {arguments}: {}", outcome.result);
        let members: Vec<&str> = outcome
            .result
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(members, ["success", "error", "message"]);
        assert_eq!(outcome.result.get("success"), Some(&Value::Bool(false)));
        let text = |member| {
            outcome
                .result
                .get(member)
                .and_then(Value::as_str)
                .expect("a text")
                .to_owned()
        };
        let error = text("error");
        let (code, rest) = error.split_once(": ").expect("a code and a text");
        assert_eq!(rest, text("message"));
        code.to_owned()
    }

    pub(crate) async fn adds(&self, title: &str) -> i64 {
        let result = self
            .succeeds("add_task", serde_json::json!({"title": title}))
            .await;
        result
            .pointer("/task/id")
            .and_then(Value::as_i64)
            .expect("a number")
    }

    /// The titles that `list_tasks` returns with these arguments.
    pub(crate) async fn titles(&self, arguments: Value) -> Vec<String> {
        let result = self.succeeds("list_tasks", arguments).await;
        let tasks = result.get("tasks").and_then(Value::as_array).expect("tasks");
        tasks
            .iter()
            .map(|task| {
                task.get("title")
                    .and_then(Value::as_str)
                    .expect("a title")
                    .to_owned()
            })
            .collect()
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
