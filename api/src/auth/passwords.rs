//! Hashes and verifies passwords with argon2id: on blocking threads, a few at a time, and in the same time whether or not
//! the user exists.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use errand_shared::service::config::Exit;
use tokio::sync::Semaphore;

use super::refresh::random_text;
use crate::http::error::ApiError;

/// A configuration that OWASP recommends: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The maximum number of waiting requests.
const MAX_WAITING: usize = 64;

/// Hashes and verifies passwords, a few at a time.
#[derive(Debug)]
pub(crate) struct Passwords {
    queue_permits: Arc<Semaphore>,
    work_permits: Arc<Semaphore>,
    /// The hash of a random password, used when the user does not exist.
    dummy_hash: Arc<str>,
}

impl Passwords {
    pub(super) fn new(at_once: u16) -> Result<Self, Exit> {
        let dummy_hash = hash(&random_text()).map_err(|error| Exit {
            code: 1,
            text: format!("error: argon2 failed: {error}\n"),
        })?;
        Ok(Self {
            queue_permits: Arc::new(Semaphore::new(usize::from(at_once) + MAX_WAITING)),
            work_permits: Arc::new(Semaphore::new(at_once.into())),
            dummy_hash: dummy_hash.into(),
        })
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.with_permits(move || hash(&password)).await
    }

    /// Whether the password matches the hash. Without a hash this takes as long as with a wrong password.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, ApiError> {
        let dummy_hash = Arc::clone(&self.dummy_hash);
        self.with_permits(move || match hash {
            Some(hash) => verify(&password, &hash),
            None => verify(&password, &dummy_hash).map(|_| false),
        })
        .await
    }

    /// The permits move into the work, because it continues even if the request is dropped.
    async fn with_permits<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(queue_permits) = Arc::clone(&self.queue_permits).try_acquire_owned() else {
            return Err(ApiError::Busy("Too many users are logging in; try again."));
        };
        let work_permit = Arc::clone(&self.work_permits)
            .acquire_owned()
            .await
            .map_err(ApiError::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((work_permit, queue_permits));
            done
        });
        done.await
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashes a password on the current thread, as a PHC string.
pub(crate) fn hash(password: &str) -> Result<String, Error> {
    Ok(argon2()?.hash_password(password.as_bytes())?.to_string())
}

fn verify(password: &str, hash: &str) -> Result<bool, Error> {
    let hash = PasswordHash::new(hash)?;
    match argon2()?.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn password_matches_only_its_own_hash() {
        let passwords = Passwords::new(1).unwrap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(
            passwords
                .verify("correct horse".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .verify("correct hors".to_owned(), Some(hash))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
    }

    #[tokio::test]
    async fn request_is_rejected_when_the_queue_is_full() {
        let passwords = Passwords::new(1).unwrap();
        let permits = u32::try_from(1 + MAX_WAITING).unwrap();
        let _all = Arc::clone(&passwords.queue_permits)
            .acquire_many_owned(permits)
            .await
            .unwrap();
        assert!(matches!(
            passwords.hash("correct horse".to_owned()).await,
            Err(ApiError::Busy(_))
        ));
    }
}
