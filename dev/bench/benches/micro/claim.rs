//! What a claim costs, of one run and of 64 at once, with everything it returns.
#![expect(
    clippy::expect_used,
    reason = "a benchmark without its surroundings can only fail"
)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use errand_devstack::Postgres;
use errand_shared::{
    Uuid,
    storage::{
        Pool,
        queue::{
            claims::{self, ClaimBounds},
            posts::{self, Post},
        },
        schema,
    },
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::runtime::Runtime;

const BOUNDS: ClaimBounds = ClaimBounds {
    history_turns: 50,
    history_bytes: 128_000,
    deadline_seconds: 300.0,
};

async fn execute(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let done = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await;
    done.expect("a statement");
}

/// Posts `many` messages, each in a new conversation.
async fn post(pool: &Pool, user_id: Uuid, many: usize) -> Vec<Uuid> {
    let posts: Vec<_> = (0..many)
        .map(|_| Post {
            run_id: Uuid::now_v7(),
            message_id: Uuid::now_v7(),
            user_id,
            conversation_id: Uuid::now_v7(),
            new_conversation: true,
            content: "Add a task to measure".to_owned(),
            reject_if_running: false,
            key: None,
            agent: None,
            origin: posts::Origin::default(),
        })
        .collect();
    posts::store_batch(pool, &posts, 0).await.expect("posts");
    posts.iter().map(|post| post.run_id).collect()
}

pub(crate) fn measure(criterion: &mut Criterion, runtime: &Runtime) {
    let (postgres, pool, user_id) = runtime.block_on(async {
        let postgres = Postgres::ephemeral().await.expect("Postgres");
        let options: PgConnectOptions = postgres.url().parse().expect("its URL");
        let pool = Pool::new(options.clone(), 2, Duration::from_secs(30)).expect("a pool");
        schema::migrate(options).await.expect("the schema");
        let user_id = Uuid::now_v7();
        execute(
            &postgres.url(),
            format!("INSERT INTO users (id, email, name) VALUES ('{user_id}', 'a@example.com', 'Ada')"),
        )
        .await;
        (postgres, pool, user_id)
    });
    let mut group = criterion.benchmark_group("claim");
    for many in [1, 64] {
        group.throughput(Throughput::Elements(many as u64));
        group.bench_function(format!("of {many}"), |bencher| {
            bencher.iter_custom(|times| {
                runtime.block_on(async {
                    let mut took = Duration::ZERO;
                    for _ in 0..times {
                        let ids = post(&pool, user_id, many).await;
                        let began = Instant::now();
                        let leases = claims::claim(&pool, Uuid::now_v7(), &ids, BOUNDS).await;
                        took += began.elapsed();
                        assert_eq!(leases.expect("leases").len(), many);
                    }
                    execute(&postgres.url(), "TRUNCATE conversations CASCADE".to_owned()).await;
                    took
                })
            });
        });
    }
    group.finish();
    pool.close();
    runtime.block_on(async move { drop(postgres) });
}
