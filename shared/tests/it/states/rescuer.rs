//! The rescuer: finds stuck runs, and handles them any number of actions later.

use errand_shared::{
    domain::events::final_seq,
    storage::{
        journal::{
            approvals,
            pending_calls::{self, EndingRun},
        },
        queue::rescue,
        runs::finish::{self, Ending, Finish},
    },
};

use super::{execution::failed, harness::Harness, model::MAX_RESCUES};

/// Seconds without a heartbeat after which a worker counts as dead. No test takes that long.
const DEAD_AFTER: f64 = 1800.0;

impl Harness<'_> {
    pub(super) async fn find_stuck_runs(&mut self) {
        let pool = self.db.pool();
        let (abandoned, late) = self.model.find_stuck_runs(&self.silent);
        let found = [
            (
                abandoned,
                rescue::find_orphans(pool, DEAD_AFTER, 1000).await.unwrap(),
            ),
            (late, rescue::find_overdue(pool, 0.0, 1000).await.unwrap()),
        ];
        self.stuck = found.map(|(seen, mut stuck)| {
            stuck.sort_by_key(|run| run.run_id);
            let ids: Vec<_> = stuck.iter().map(|run| run.run_id).collect();
            assert_eq!(ids, self.ids(seen.iter().map(|seen| seen.run)));
            seen.into_iter().zip(stuck).collect()
        });
    }

    pub(super) async fn rescue(&mut self) {
        for stuck in self.stuck.clone() {
            let (mut ends, mut again) = (Vec::new(), (Vec::new(), Vec::new()));
            for (_, run) in &stuck {
                let ending = if run.cancel_requested {
                    Ending::Cancelled
                } else if run.overdue || run.rescues + 1 >= MAX_RESCUES {
                    failed()
                } else {
                    again.0.push(run.run_id);
                    again.1.push(run.token);
                    continue;
                };
                ends.push(Finish {
                    run_id: run.run_id,
                    token: Some(run.token),
                    final_event_seq: final_seq(run.epoch + 1),
                    ending,
                    last_step: None,
                });
            }
            rescue::requeue(self.db.pool(), &again.0, &again.1).await.unwrap();
            self.finish_unclaimed(&ends).await;
            for (seen, _) in stuck {
                self.model.rescue(seen);
            }
        }
    }

    /// Finishes runs that no worker executes, as the rescuer and the API do: settles their pending calls first.
    pub(super) async fn finish_unclaimed(&self, ends: &[Finish]) -> usize {
        let ids: Vec<_> = ends.iter().map(|end| end.run_id).collect();
        let endings: Vec<_> = ends.iter().map(EndingRun::from).collect();
        let mut transaction = self.db.pool().begin().await.unwrap();
        finish::lock(&mut transaction, &ids).await.unwrap();
        pending_calls::settle(&mut *transaction, &endings).await.unwrap();
        let ended = finish::finish_batch(&mut *transaction, ends).await.unwrap();
        transaction.commit().await.unwrap();
        ended.len()
    }

    pub(super) async fn expire(&mut self) {
        let expired = approvals::expire(self.db.pool(), 1000).await.unwrap();
        let mut expired: Vec<_> = expired.into_iter().map(|run| (run.run_id, run.epoch)).collect();
        expired.sort_unstable();
        let expected = self.model.expire();
        let expected = expected
            .iter()
            .map(|run| (self.runs[*run], self.model.runs[*run].epoch));
        assert_eq!(expired, expected.collect::<Vec<_>>());
    }
}
