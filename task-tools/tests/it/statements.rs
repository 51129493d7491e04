//! The SQL functions behind the tools, which the HTTP routes call directly.

use errand_shared::storage::tasks::{self, Change, Filter};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::user::User;

#[sqlx::test(migrations = "../migrations")]
async fn only_the_owner_can_read_a_task(pool: PgPool) {
    let (ann, bob) = (User::new(&pool, 1).await, User::new(&pool, 2).await);
    let added = tasks::add(&pool, ann.id, "milk", Some("")).await.unwrap();
    assert_eq!(added.description, None);
    assert_eq!(tasks::get(&pool, ann.id, added.id).await.unwrap(), Some(added));
    assert_eq!(tasks::get(&pool, ann.id, 2).await.unwrap(), None);
    assert_eq!(tasks::get(&pool, bob.id, 1).await.unwrap(), None);
}

#[sqlx::test(migrations = "../migrations")]
async fn update_changes_all_members_or_nothing(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    let added = tasks::add(&pool, ann.id, "milk", Some("two")).await.unwrap();
    let none = tasks::update(&pool, ann.id, 1, Change::default()).await.unwrap();
    assert_eq!(none, Some(added.clone()));
    let change = Change {
        title: Some("tea"),
        description: Some(""),
        completed: Some(true),
    };
    let changed = tasks::update(&pool, ann.id, 1, change).await.unwrap().unwrap();
    assert_eq!(
        (changed.title.as_str(), &changed.description, changed.completed),
        ("tea", &None, true)
    );
    assert_eq!(changed.created_at, added.created_at);
    assert!(changed.updated_at > added.updated_at);
    assert_eq!(
        tasks::update(&pool, ann.id, 1, change).await.unwrap(),
        Some(changed.clone())
    );
    assert_eq!(tasks::delete(&pool, ann.id, 1).await.unwrap(), Some(changed));
    assert_eq!(tasks::update(&pool, ann.id, 1, change).await.unwrap(), None);
    assert_eq!(
        tasks::list(&pool, ann.id, Filter::default(), 10, 0)
            .await
            .unwrap(),
        (vec![], 0)
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn writers_of_one_user_wait_for_each_other(pool: PgPool) {
    let (ann, bob) = (User::new(&pool, 1).await, User::new(&pool, 2).await);
    for user in [&ann, &bob] {
        tasks::add(&pool, user.id, "a", None).await.unwrap();
        tasks::add(&pool, user.id, "b", None).await.unwrap();
    }
    let options = (*pool.connect_options())
        .clone()
        .options([("lock_timeout", "20ms")]);
    let with_lock_timeout = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let mut first = pool.begin().await.unwrap();
    tasks::set_completed(&mut *first, ann.id, 1, true).await.unwrap();

    // A write to another task of the same user must wait.
    for write in 0..3 {
        let mut second = with_lock_timeout.begin().await.unwrap();
        let waited = match write {
            0 => tasks::set_completed(&mut *second, ann.id, 2, true).await.err(),
            1 => tasks::delete(&mut *second, ann.id, 2).await.err(),
            _ => tasks::add(&mut *second, ann.id, "c", None).await.err(),
        };
        let code = waited.and_then(|error| error.as_database_error()?.code().map(String::from));
        assert_eq!(
            code.as_deref(),
            Some("55P03"),
            "write {write} did not wait for the lock"
        );
        second.rollback().await.unwrap();
    }
    // Readers and other users need not wait.
    assert_eq!(
        tasks::list(&pool, ann.id, Filter::default(), 10, 0)
            .await
            .unwrap()
            .1,
        2
    );
    assert!(
        tasks::set_completed(&pool, bob.id, 2, true)
            .await
            .unwrap()
            .is_some()
    );

    tasks::set_completed(&mut *first, ann.id, 2, true).await.unwrap();
    first.commit().await.unwrap();
    with_lock_timeout.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn waiting_writer_sees_the_earlier_change(pool: PgPool) {
    let ann = User::new(&pool, 1).await;
    tasks::add(&pool, ann.id, "a", None).await.unwrap();
    let mut first = pool.begin().await.unwrap();
    let change = Change {
        description: Some("by the first"),
        ..Change::default()
    };
    tasks::update(&mut *first, ann.id, 1, change).await.unwrap();
    let second = tasks::update(
        &pool,
        ann.id,
        1,
        Change {
            title: Some("b"),
            ..Change::default()
        },
    );
    let (second, committed) = futures::join!(second, async {
        // The second writer waits for the lock or has not started. In both cases it must see the first change.
        tokio::task::yield_now().await;
        first.commit().await
    });
    committed.unwrap();
    let second = second.unwrap().unwrap();
    assert_eq!(
        (second.title.as_str(), second.description.as_deref()),
        ("b", Some("by the first"))
    );
}
