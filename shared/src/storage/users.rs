//! Users, with a password or from an external identity provider.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// A user, without the password hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: Uuid,
    /// The e-mail address. None for a user of an external identity provider that does not supply it.
    pub email: Option<String>,
    /// The name.
    pub name: String,
    /// `user` or `admin`.
    pub role: String,
    /// When the user was created.
    pub created_at: DateTime<Utc>,
}

/// Creates a user. None if the e-mail address is taken, ignoring case.
///
/// # Errors
/// A database error.
pub async fn create(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    email: &str,
    name: &str,
    password_hash: &str,
    role: &str,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"
        INSERT INTO users (id, email, name, password_hash, role) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        RETURNING id, email, name, role, created_at
        "#,
        id,
        email,
        name,
        password_hash,
        role
    )
    .fetch_optional(executor)
    .await
}

/// Finds a user by e-mail address, ignoring case, with the password hash.
///
/// # Errors
/// A database error.
pub async fn find_by_email(
    executor: impl PgExecutor<'_>,
    email: &str,
) -> Result<Option<(User, Option<String>)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT id, email, name, role, created_at, password_hash FROM users WHERE lower(email) = lower($1)",
        email
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| {
        let user = User {
            id: row.id,
            email: row.email,
            name: row.name,
            role: row.role,
            created_at: row.created_at,
        };
        (user, row.password_hash)
    }))
}

/// Finds a user by id.
///
/// # Errors
/// A database error.
pub async fn find(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        "SELECT id, email, name, role, created_at FROM users WHERE id = $1",
        id
    )
    .fetch_optional(executor)
    .await
}

/// Finds a user of an external identity provider.
///
/// # Errors
/// A database error.
pub async fn find_external(
    executor: impl PgExecutor<'_>,
    issuer: &str,
    subject: &str,
) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        "SELECT id, email, name, role, created_at FROM users WHERE issuer = $1 AND subject = $2",
        issuer,
        subject
    )
    .fetch_optional(executor)
    .await
}

/// Finds or creates a user of an external identity provider.
///
/// # Errors
/// A database error.
pub async fn find_or_create_external(
    executor: impl PgExecutor<'_>,
    new_id: Uuid,
    issuer: &str,
    subject: &str,
    name: &str,
) -> Result<User, sqlx::Error> {
    sqlx::query_as!(
        User,
        r#"
        INSERT INTO users (id, issuer, subject, name) VALUES ($1, $2, $3, $4)
        ON CONFLICT (issuer, subject) DO UPDATE SET name = users.name
        RETURNING id, email, name, role, created_at
        "#,
        new_id,
        issuer,
        subject,
        name
    )
    .fetch_one(executor)
    .await
}
