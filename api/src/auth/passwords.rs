//! Passwords: argon2id off the async threads, few at once, the same work whether or not there is a hash to check.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{Error, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use errand_shared::service::config::Exit;
use tokio::sync::Semaphore;

use super::refresh::random_text;
use crate::http::error::ApiError;

/// OWASP's second choice of equal strength: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Requests that wait for their turn, at most.
const WAITING: usize = 64;

/// Hashes and checks passwords, a few at once.
#[derive(Debug)]
pub(crate) struct Passwords {
    admitted: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
    /// The hash of a password that nobody has, checked when there is none to check.
    nobodys: Arc<str>,
}

impl Passwords {
    pub(super) fn new(at_once: u16) -> Result<Self, Exit> {
        let nobodys = hash(&random_text()).map_err(|error| Exit {
            code: 1,
            text: format!("error: argon2 does not work here: {error}\n"),
        })?;
        Ok(Self {
            admitted: Arc::new(Semaphore::new(usize::from(at_once) + WAITING)),
            at_work: Arc::new(Semaphore::new(at_once.into())),
            nobodys: nobodys.into(),
        })
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        self.in_turn(move || hash(&password)).await
    }

    /// Whether a password is the one that was hashed; none takes as long as a wrong one.
    pub(crate) async fn is_right(&self, password: String, hash: Option<String>) -> Result<bool, ApiError> {
        let nobodys = Arc::clone(&self.nobodys);
        self.in_turn(move || match hash {
            Some(hash) => check(&password, &hash),
            None => check(&password, &nobodys).map(|_| false),
        })
        .await
    }

    /// The permits go with the work: it runs to its end even if nobody waits for it any more.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            return Err(ApiError::Busy("Too many are logging in; try again."));
        };
        let turn = Arc::clone(&self.at_work)
            .acquire_owned()
            .await
            .map_err(ApiError::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((turn, admitted));
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

/// The hash of a password (PHC string), on this thread.
pub(crate) fn hash(password: &str) -> Result<String, Error> {
    Ok(argon2()?.hash_password(password.as_bytes())?.to_string())
}

fn check(password: &str, hash: &str) -> Result<bool, Error> {
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
    async fn a_password_is_right_only_against_its_own_hash() {
        let passwords = Passwords::new(1).unwrap();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(
            passwords
                .is_right("correct horse".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .is_right("correct hors".to_owned(), Some(hash))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .is_right("correct horse".to_owned(), None)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_sent_away() {
        let passwords = Passwords::new(1).unwrap();
        let permits = u32::try_from(1 + WAITING).unwrap();
        let _all = Arc::clone(&passwords.admitted)
            .acquire_many_owned(permits)
            .await
            .unwrap();
        assert!(matches!(
            passwords.hash("correct horse".to_owned()).await,
            Err(ApiError::Busy(_))
        ));
    }
}
