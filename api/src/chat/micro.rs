//! Access to internals for the micro-benchmarks. Only compiled for them.

use errand_shared::{Uuid, domain::events::RunEnd};

use super::waiter::Waiter;
use crate::live::Subscribers;

/// Requests that wait, without HTTP.
#[derive(Clone, Debug)]
pub struct Waiters(Waiter);

impl Default for Waiters {
    fn default() -> Self {
        Self(Waiter::new(Subscribers::new(1024)))
    }
}

impl Waiters {
    /// Starts to wait for the end of a run.
    pub fn wait(&self, user_id: Uuid, run_id: Uuid) -> impl Future<Output = ()> + use<> {
        let mut wait = self.0.wait_for(user_id, run_id);
        async move {
            wait.change(i32::MAX).await;
        }
    }

    /// Reports the end of a run.
    pub fn report_finished(&self, end: RunEnd) {
        self.0.report_finished(end);
    }
}
