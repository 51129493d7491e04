//! Refresh tokens: random, stored hashed, changed at each use; one that is used twice revokes its family.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A token to store.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// SHA-256 of the token.
    pub hash: &'a [u8],
    /// The login it comes from.
    pub family_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// Seconds until it expires.
    pub ttl_seconds: f64,
}

/// Stores a token.
///
/// # Errors
/// A fault of Postgres.
pub async fn store(executor: impl PgExecutor<'_>, token: NewToken<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO refresh_tokens (token_hash, family_id, user_id, expires_at)
        VALUES ($1, $2, $3, now() + make_interval(secs => $4))
        "#,
        token.hash,
        token.family_id,
        token.user_id,
        token.ttl_seconds
    )
    .execute(executor)
    .await
    .map(drop)
}

/// What a presented token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It was good and is now used: issue the next of its family.
    Good {
        /// The login it comes from.
        family_id: Uuid,
        /// Whose it is.
        user_id: Uuid,
    },
    /// Unknown, expired or revoked; or used before, which has revoked its family.
    Bad,
}

/// Uses a token, in the caller's transaction, which must be committed even for a bad one.
///
/// # Errors
/// A fault of Postgres.
pub async fn present(connection: &mut PgConnection, hash: &[u8]) -> Result<RefreshOutcome, sqlx::Error> {
    lock_family(connection, hash).await?;
    let used = sqlx::query!(
        r#"
        UPDATE refresh_tokens SET used_at = now()
        WHERE token_hash = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()
        RETURNING family_id, user_id
        "#,
        hash
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(token) = used {
        return Ok(RefreshOutcome::Good {
            family_id: token.family_id,
            user_id: token.user_id,
        });
    }
    revoke(connection, hash).await?;
    Ok(RefreshOutcome::Bad)
}

/// Revokes the family of a token, known or not, in the caller's transaction: a logout.
///
/// # Errors
/// A fault of Postgres.
pub async fn revoke_family(connection: &mut PgConnection, hash: &[u8]) -> Result<(), sqlx::Error> {
    lock_family(connection, hash).await?;
    revoke(connection, hash).await
}

/// Forgets a user's expired tokens, which are bad whether known or not.
///
/// # Errors
/// A fault of Postgres.
pub async fn forget_expired(executor: impl PgExecutor<'_>, user_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND expires_at <= now()",
        user_id
    )
    .execute(executor)
    .await
    .map(drop)
}

/// Makes uses of one family go one at a time: a revocation that does not wait for a use under way would miss the token
/// which that use is about to store.
async fn lock_family(connection: &mut PgConnection, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT pg_advisory_xact_lock(hashtextextended(family_id::text, 0)) AS "locked?"
        FROM refresh_tokens WHERE token_hash = $1
        "#,
        hash
    )
    .fetch_optional(connection)
    .await
    .map(drop)
}

async fn revoke(executor: impl PgExecutor<'_>, hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE refresh_tokens SET revoked_at = now()
        WHERE revoked_at IS NULL AND family_id = (SELECT family_id FROM refresh_tokens WHERE token_hash = $1)
        "#,
        hash
    )
    .execute(executor)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::storage::users;

    async fn log_in(pool: &PgPool, hash: &[u8], ttl_seconds: f64) -> RefreshOutcome {
        let (user_id, family_id) = (Uuid::now_v7(), Uuid::now_v7());
        users::create(
            pool,
            user_id,
            &format!("{user_id}@example.com"),
            "Ann",
            "hash",
            "user",
        )
        .await
        .unwrap();
        store(
            pool,
            NewToken {
                hash,
                family_id,
                user_id,
                ttl_seconds,
            },
        )
        .await
        .unwrap();
        RefreshOutcome::Good { family_id, user_id }
    }

    async fn use_it(pool: &PgPool, hash: &[u8]) -> RefreshOutcome {
        let mut transaction = pool.begin().await.unwrap();
        let presented = present(&mut transaction, hash).await.unwrap();
        transaction.commit().await.unwrap();
        presented
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_token_used_twice_revokes_its_family_and_no_other(pool: PgPool) {
        let good = log_in(&pool, b"first", 60.0).await;
        let other = log_in(&pool, b"other", 60.0).await;
        assert_eq!(use_it(&pool, b"first").await, good);
        let RefreshOutcome::Good { family_id, user_id } = good else {
            panic!("not good")
        };
        store(
            &pool,
            NewToken {
                hash: b"second",
                family_id,
                user_id,
                ttl_seconds: 60.0,
            },
        )
        .await
        .unwrap();
        assert_eq!(use_it(&pool, b"first").await, RefreshOutcome::Bad);
        assert_eq!(use_it(&pool, b"second").await, RefreshOutcome::Bad);
        assert_eq!(use_it(&pool, b"other").await, other);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn unknown_and_expired_tokens_are_bad(pool: PgPool) {
        log_in(&pool, b"expired", 0.0).await;
        assert_eq!(use_it(&pool, b"expired").await, RefreshOutcome::Bad);
        assert_eq!(use_it(&pool, b"unknown").await, RefreshOutcome::Bad);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_revocation_waits_for_a_use_under_way_and_takes_its_next_token_too(pool: PgPool) {
        let good = log_in(&pool, b"first", 60.0).await;
        let mut refresh = pool.begin().await.unwrap();
        assert_eq!(present(&mut refresh, b"first").await.unwrap(), good);
        let RefreshOutcome::Good { family_id, user_id } = good else {
            panic!("not good")
        };
        let logout = async {
            let mut transaction = pool.begin().await.unwrap();
            revoke_family(&mut transaction, b"first").await.unwrap();
            transaction.commit().await.unwrap();
        };
        let finish = async {
            // Until the logout waits for the lock.
            while sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"#
            )
            .fetch_one(&pool)
            .await
            .unwrap()
                == 0
            {
                tokio::task::yield_now().await;
            }
            store(
                &mut *refresh,
                NewToken {
                    hash: b"second",
                    family_id,
                    user_id,
                    ttl_seconds: 60.0,
                },
            )
            .await
            .unwrap();
            refresh.commit().await.unwrap();
        };
        tokio::join!(logout, finish);
        assert_eq!(use_it(&pool, b"second").await, RefreshOutcome::Bad);
    }
}
