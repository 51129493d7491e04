//! `errand-api create-user`: creates a user. This is the only way to create an admin.

use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    storage::users::{self, User},
};

use crate::{
    auth::{passwords, refresh::random_text, validation::Validation},
    http::error::{ApiError, FieldError},
};

/// Why no user was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateUserError {
    /// An argument is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The e-mail address is already registered.
    #[error("the e-mail address is already registered")]
    EmailTaken,
    /// Hashing the password failed.
    #[error("cannot hash the password: {0}")]
    Hash(String),
    /// A database error.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

fn sentences(errors: &[FieldError]) -> String {
    let sentences: Vec<_> = errors
        .iter()
        .map(|error| format!("{} {}", error.field, error.message))
        .collect();
    sentences.join("; ")
}

/// Creates a user. Without a password, a random one is generated and returned.
///
/// # Errors
/// See [`CreateUserError`].
pub async fn create_user(
    pool: &Pool,
    email: &str,
    name: &str,
    admin: bool,
    password: Option<String>,
) -> Result<(User, Option<String>), CreateUserError> {
    let generated = password.is_none().then(random_text);
    let mut fields = Validation::default();
    let email = fields.email(Some(email));
    let name = fields.name(Some(name));
    let password = fields.new_password(password.as_deref().or(generated.as_deref()));
    if let Err(ApiError::Invalid(errors)) = fields.finish() {
        return Err(CreateUserError::Invalid(sentences(&errors)));
    }
    // On this thread: nothing else runs in this process.
    let hash = passwords::hash(&password).map_err(|error| CreateUserError::Hash(error.to_string()))?;
    let role = if admin { "admin" } else { "user" };
    let user = users::create(pool, Uuid::now_v7(), &email, &name, &hash, role).await?;
    Ok((user.ok_or(CreateUserError::EmailTaken)?, generated))
}

#[cfg(test)]
mod tests {

    use std::time::Duration;

    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    use super::*;

    #[sqlx::test(migrations = "../migrations")]
    async fn an_admin_is_created_once_with_a_generated_password(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        let (user, generated) = create_user(&pool, "Ann@example.com", "Ann", true, None)
            .await
            .unwrap();
        assert_eq!(
            (user.email.as_deref(), user.role.as_str()),
            (Some("Ann@example.com"), "admin")
        );
        assert_eq!(generated.unwrap().len(), 43);
        let again = create_user(&pool, "ann@EXAMPLE.com", "Ann", false, None).await;
        assert!(matches!(again, Err(CreateUserError::EmailTaken)));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn every_invalid_argument_is_reported(_: PgPoolOptions, options: PgConnectOptions) {
        let pool = Pool::new(options, 4, Duration::from_secs(2)).unwrap();
        let error = create_user(&pool, "ann", "", false, Some("short".to_owned()))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "email must be an e-mail address; name must have 1 to 100 characters and not be blank; \
             password must have 8 to 128 characters"
        );
    }
}
