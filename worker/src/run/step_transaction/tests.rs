use errand_shared::{
    service::lifecycle::Lifecycle,
    storage::{
        group_commit::GroupCommit,
        queue::{
            claims::{self, ClaimBounds},
            posts::{self, Post, PostOutcome},
        },
    },
};
use errand_testkit::Database;
use futures::future::join_all;
use serde_json::json;

use super::*;

const BOUNDS: ClaimBounds = ClaimBounds {
    history_turns: 1,
    history_bytes: 1,
    deadline_seconds: 300.0,
};

/// The lease of a claimed run of a new user.
async fn claimed(database: &Database) -> Lease {
    let user_id = Uuid::now_v7();
    database
        .execute(&format!(
            "INSERT INTO users (id, email, name) VALUES ('{user_id}', '{user_id}@example.com', 'Ada')"
        ))
        .await
        .unwrap();
    let post = Post {
        run_id: Uuid::now_v7(),
        message_id: Uuid::now_v7(),
        user_id,
        conversation_id: Uuid::now_v7(),
        new_conversation: true,
        content: "hello".to_owned(),
        reject_if_running: false,
        key: None,
        agent: None,
        origin: posts::Origin::default(),
    };
    let run_id = post.run_id;
    let posted = posts::store_batch(&database.pool, &[post], 0).await.unwrap();
    assert_eq!(posted, [PostOutcome::Stored]);
    let leases = claims::claim(&database.pool, Uuid::now_v7(), &[run_id], BOUNDS).await;
    leases.unwrap().pop().unwrap()
}

/// A first step that adds a task.
fn adds(lease: &Lease, title: &str) -> Arc<ToolStep> {
    let step = StepRecord {
        step: 0,
        attempt: 1,
        model: "m".to_owned(),
        content: String::new(),
        usage: errand_shared::domain::chat::Usage::new(1, 1),
        model_ms: 1,
        tools_ms: 0,
        provider_data: None,
    };
    let call = PlannedCall {
        index: 0,
        id: "call".to_owned(),
        name: "add_task".to_owned(),
        arguments: Ok(json!({"title": title}).as_object().cloned().unwrap()),
    };
    let tools = errand_task_tools::specs().iter().map(|spec| spec.name).collect();
    Arc::new(ToolStep::new(lease, step, vec![call], tools))
}

fn pool(database: &Database) -> Pool {
    Pool::new(database.options().clone(), 2, std::time::Duration::from_secs(30)).unwrap()
}

fn steps(pool: &Pool, lifecycle: &Lifecycle) -> Steps {
    let pool = pool.clone();
    GroupCommit::start(64, lifecycle, move |batch: Arc<[Arc<ToolStep>]>| {
        let pool = pool.clone();
        async move { write(&pool, &batch).await }
    })
}

const TITLES: &str = "SELECT title FROM tasks ORDER BY title";

#[tokio::test]
async fn lost_lease_rolls_back_only_its_own_step() {
    let database = Database::new().await;
    let leases = [
        claimed(&database).await,
        claimed(&database).await,
        claimed(&database).await,
    ];
    let lost = &leases[1];
    claims::release(&database.pool, lost.run_id, lost.token, None, 0.0)
        .await
        .unwrap()
        .unwrap();
    let batch: Vec<_> = leases
        .iter()
        .zip(["a", "lost", "c"])
        .map(|(lease, title)| adds(lease, title))
        .collect();
    let pool = pool(&database);
    let written = write(&pool, &batch).await.unwrap();
    let lost: Vec<_> = written
        .iter()
        .map(|outcome| matches!(outcome, Ok(StepOutcome::LeaseLost)))
        .collect();
    assert_eq!(lost, [false, true, false]);
    assert_eq!(database.texts(TITLES).await, ["a", "c"]);
    assert_eq!(database.count("SELECT count(*) FROM tool_calls").await, 2);
    pool.close();
}

#[tokio::test]
async fn failing_tool_does_not_affect_other_steps() {
    let database = Database::new().await;
    database
        .execute("ALTER TABLE tasks ADD CONSTRAINT no_poison CHECK (title <> 'poison')")
        .await
        .unwrap();
    let leases = [
        claimed(&database).await,
        claimed(&database).await,
        claimed(&database).await,
    ];
    let pool = pool(&database);
    let lifecycle = Lifecycle::new();
    let steps = steps(&pool, &lifecycle);
    // All steps are enqueued before the writer starts.
    let performed = leases.iter().zip(["a", "poison", "c"]).map(|(lease, title)| {
        let step = adds(lease, title);
        perform(&steps, &pool, step)
    });
    let performed: Vec<_> = join_all(performed)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let successes: Vec<_> = performed.iter().map(|calls| calls[0].success).collect();
    assert_eq!(successes, [true, false, true]);
    assert!(performed[1][0].result.to_string().contains("INTERNAL_ERROR"));
    assert_eq!(database.texts(TITLES).await, ["a", "c"]);
    assert_eq!(database.count("SELECT count(*) FROM steps").await, 3);
    lifecycle.stop();
    pool.close();
}

/// Early results are final: a second execution could have other results.
#[tokio::test]
async fn step_with_early_results_is_not_executed_again() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE SEQUENCE attempts; \
             CREATE FUNCTION fail_first_insert() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN IF nextval(''attempts'') = 1 THEN RAISE ''refused''; END IF; RETURN NEW; END'; \
             CREATE TRIGGER fail_first_insert BEFORE INSERT ON steps FOR EACH ROW EXECUTE FUNCTION fail_first_insert()",
        )
        .await
        .unwrap();
    let lease = claimed(&database).await;
    let pool = pool(&database);
    let lifecycle = Lifecycle::new();
    let steps = steps(&pool, &lifecycle);
    let step = adds(&lease, "milk");
    let failure = perform(&steps, &pool, Arc::clone(&step)).await.unwrap_err();
    assert!(matches!(failure, RunFailure::Database(_)), "{failure}");
    assert_eq!(step.early_results().await[0].tool_name, "add_task");
    assert_eq!(database.count("SELECT count(*) FROM tasks").await, 0);
    lifecycle.stop();
    pool.close();
}
