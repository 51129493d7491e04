//! Checks of the tasks against the tool calls that changed them.
//!
//! Users can add and delete tasks directly, which leaves no call, and the calls of a deleted conversation are deleted with it. So in
//! any database it can be shown that no two calls had the same effect, and that a deletion took place. That no effect happened
//! twice or was lost can be shown only where all tasks come from chats.

use sqlx::PgConnection;

use super::{AuditLimits, Found};

/// Task numbers of a user are unique, and not above the user's counter.
pub(super) async fn numbers(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_as!(
        Found,
        r#"
        /* verify */
        WITH bad AS MATERIALIZED (
            SELECT 'user ' || user_id || ' task ' || number AS what FROM tasks
            GROUP BY user_id, number HAVING count(*) > 1
            UNION ALL
            SELECT 'user ' || t.user_id || ' task ' || t.number
            FROM tasks t LEFT JOIN task_counters c ON c.user_id = t.user_id
            WHERE t.number < 1 OR t.number > COALESCE(c.last_number, 0)
        )
        SELECT (SELECT count(*) FROM tasks) AS "examined!", (SELECT count(*) FROM bad) AS "violations!",
            ARRAY(SELECT what FROM bad ORDER BY what LIMIT $1) AS "offenders!"
        "#,
        limits.offenders
    )
    .fetch_one(connection)
    .await
}

/// Every successful `add_task` call has its own number, which was assigned. Every successful `delete_task` call has its own
/// number, which no task has any more.
pub(super) async fn effects(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_file_as!(Found, "src/storage/audit/effects.sql", limits.offenders)
        .fetch_one(connection)
        .await
}

/// Every assigned number comes from exactly one call, and every missing task was deleted by exactly one call. True only where tasks
/// are changed by chats alone and no conversation was deleted.
pub(super) async fn origins(
    connection: &mut PgConnection,
    limits: AuditLimits,
) -> Result<Found, sqlx::Error> {
    sqlx::query_file_as!(Found, "src/storage/audit/origins.sql", limits.offenders)
        .fetch_one(connection)
        .await
}
