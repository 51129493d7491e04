//! Makes a user from the command line, the only way to make an admin.

use errand_shared::storage::Pool;
use errand_shared::{
    Uuid,
    storage::users::{self, User},
};

use crate::{
    auth::{passwords, refresh::random_text, validation::Rules},
    http::{error::ApiError, problem::FieldError},
};

/// Why no user was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateUserError {
    /// What was given breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// Somebody has the e-mail.
    #[error("the e-mail is taken")]
    EmailTaken,
    /// The password can't be hashed.
    #[error("the password can't be hashed: {0}")]
    Hash(String),
    /// A fault of Postgres.
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

/// Makes a user; without a password one is made up and returned with the user.
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
    let mut rules = Rules::default();
    let email = rules.email(Some(email));
    let name = rules.name(Some(name));
    let password = rules.new_password(password.as_deref().or(generated.as_deref()));
    if let Err(ApiError::Invalid(errors)) = rules.held() {
        return Err(CreateUserError::Invalid(sentences(&errors)));
    }
    // Nobody waits beside us: on this thread.
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
    async fn an_admin_is_made_once_with_a_password_that_is_made_up(
        _: PgPoolOptions,
        options: PgConnectOptions,
    ) {
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
    async fn every_broken_rule_is_told(_: PgPoolOptions, options: PgConnectOptions) {
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
