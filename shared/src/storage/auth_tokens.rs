//! Refresh tokens: random, stored as hashes, replaced at each use. Using a token twice revokes all tokens of its login.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// A token to store.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// SHA-256 of the token.
    pub hash: &'a [u8],
    /// The login that it belongs to.
    pub family_id: Uuid,
    /// The user.
    pub user_id: Uuid,
    /// Seconds until it expires.
    pub ttl_seconds: f64,
}

/// Stores a token.
///
/// # Errors
/// A database error.
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

/// The outcome of redeeming a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The token was valid and is now used: issue the next one of its family.
    Valid {
        /// The login that it belongs to.
        family_id: Uuid,
        /// The user.
        user_id: Uuid,
    },
    /// The token is unknown, expired or revoked; or it was used before, and its family is now revoked.
    Invalid,
}

/// Redeems a token. The caller must commit the transaction, also for an invalid token.
///
/// # Errors
/// A database error.
pub async fn redeem(connection: &mut PgConnection, hash: &[u8]) -> Result<RefreshOutcome, sqlx::Error> {
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
        return Ok(RefreshOutcome::Valid {
            family_id: token.family_id,
            user_id: token.user_id,
        });
    }
    revoke(connection, hash).await?;
    Ok(RefreshOutcome::Invalid)
}

/// Revokes the family of a token: a logout. Does nothing if the token is unknown.
///
/// # Errors
/// A database error.
pub async fn revoke_family(connection: &mut PgConnection, hash: &[u8]) -> Result<(), sqlx::Error> {
    lock_family(connection, hash).await?;
    revoke(connection, hash).await
}

/// Deletes a user's expired tokens.
///
/// # Errors
/// A database error.
pub async fn delete_expired(executor: impl PgExecutor<'_>, user_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND expires_at <= now()",
        user_id
    )
    .execute(executor)
    .await
    .map(drop)
}

/// Serialises operations on one family. Otherwise a revocation could miss the token that a concurrent refresh is about to
/// store.
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
        RefreshOutcome::Valid { family_id, user_id }
    }

    async fn try_redeem(pool: &PgPool, hash: &[u8]) -> RefreshOutcome {
        let mut transaction = pool.begin().await.unwrap();
        let outcome = redeem(&mut transaction, hash).await.unwrap();
        transaction.commit().await.unwrap();
        outcome
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn token_used_twice_revokes_its_family_and_no_other(pool: PgPool) {
        let valid = log_in(&pool, b"first", 60.0).await;
        let other = log_in(&pool, b"other", 60.0).await;
        assert_eq!(try_redeem(&pool, b"first").await, valid);
        let RefreshOutcome::Valid { family_id, user_id } = valid else {
            panic!("the token is not valid")
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
        assert_eq!(try_redeem(&pool, b"first").await, RefreshOutcome::Invalid);
        assert_eq!(try_redeem(&pool, b"second").await, RefreshOutcome::Invalid);
        assert_eq!(try_redeem(&pool, b"other").await, other);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn unknown_and_expired_tokens_are_invalid(pool: PgPool) {
        log_in(&pool, b"expired", 0.0).await;
        assert_eq!(try_redeem(&pool, b"expired").await, RefreshOutcome::Invalid);
        assert_eq!(try_redeem(&pool, b"unknown").await, RefreshOutcome::Invalid);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn revocation_waits_for_a_concurrent_refresh_and_revokes_its_new_token(pool: PgPool) {
        let valid = log_in(&pool, b"first", 60.0).await;
        let mut refresh = pool.begin().await.unwrap();
        assert_eq!(redeem(&mut refresh, b"first").await.unwrap(), valid);
        let RefreshOutcome::Valid { family_id, user_id } = valid else {
            panic!("the token is not valid")
        };
        let logout = async {
            let mut transaction = pool.begin().await.unwrap();
            revoke_family(&mut transaction, b"first").await.unwrap();
            transaction.commit().await.unwrap();
        };
        let finish = async {
            // Wait until the logout waits for the lock.
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
        assert_eq!(try_redeem(&pool, b"second").await, RefreshOutcome::Invalid);
    }
}
