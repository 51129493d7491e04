//! Executes one run, from its claim to its end: the tool loop, the transactions of its steps and the events it publishes.

/// Wraps the lease before a write. With the feature `mutation-fence` the write then passes any fence, which the tests that look for
/// stale writes must notice; without it, this expands to nothing.
macro_rules! mutate_fence {
    ($lease:ident, $pool:expr) => {
        #[cfg(feature = "mutation-fence")]
        let $lease = &errand_shared::storage::mutation::unfenced($pool, $lease).await;
    };
}

mod commit_in_flight;
mod deferred_step;
pub(crate) mod driver;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod finish;
mod mcp_calls;
mod pending_calls;
pub(crate) mod step_transaction;
mod transcript;
