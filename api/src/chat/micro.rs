//! What the micro-benchmarks need of the inside. In no build but theirs.

use errand_shared::{Uuid, domain::events::RunEnd};

use crate::{chat::waiter::Waiter, live::Subscribers};

/// Requests that wait, without the requests.
#[derive(Clone, Debug)]
pub struct Waiters(Waiter);

impl Default for Waiters {
    fn default() -> Self {
        Self(Waiter::new(Subscribers::new(1024)))
    }
}

impl Waiters {
    /// Waits for a run's end, from now on.
    pub fn wait(&self, user_id: Uuid, run_id: Uuid) -> impl Future<Output = ()> + use<> {
        let mut wait = self.0.wait_for(user_id, run_id);
        async move {
            wait.change(i32::MAX).await;
        }
    }

    /// Tells of a run that has ended.
    pub fn tell(&self, end: RunEnd) {
        self.0.tell_end(end);
    }
}
