//! Queues a failed or cancelled run again: stores it as queued, then notifies the workers.

use errand_shared::{
    Uuid,
    service::failpoints::{self, Failpoint},
    storage::runs::{self, RetryOutcome},
};

use super::ChatState;
use crate::http::error::ApiError;

/// Queues a user's failed or cancelled run again, if it is the last run of its conversation.
///
/// # Errors
/// [`ApiError::NotFound`] if the user has no such run, [`ApiError::Conflict`] if it cannot be retried; a database error.
pub(crate) async fn retry(chat: &ChatState, user_id: Uuid, run_id: Uuid) -> Result<(), ApiError> {
    let retried = runs::retry(&chat.database.pool, user_id, run_id);
    match chat.database.run(retried).await? {
        RetryOutcome::Queued(queued) => {
            failpoints::hit(Failpoint::RetryCommitted);
            chat.notifier.publish_queued(&queued, chat.clock.now());
            chat.notifier.notify_ready(user_id, run_id);
            Ok(())
        }
        RetryOutcome::NotRetryable => Err(ApiError::Conflict(
            "Only a failed or cancelled run that is the last of its conversation can be retried".to_owned(),
        )),
        RetryOutcome::NotFound => Err(ApiError::run_not_found(run_id)),
    }
}
