//! What rescuers see, and what they do about it, however much later.

use errand_shared::{
    domain::events::final_seq,
    storage::{
        journal::{
            approvals,
            pending_calls::{self, Closing},
        },
        queue::rescue,
        runs::finish::{self, Ending, Finish},
    },
};

use super::{model::MAX_RESCUES, stage::Stage, turns::failed};

/// Seconds of silence after which a worker counts as dead; nothing here takes as long.
const DEAD_AFTER: f64 = 1800.0;

impl Stage<'_> {
    pub(super) async fn look(&mut self) {
        let pool = self.book.pool();
        let (abandoned, late) = self.model.look(&self.silent);
        let found = [
            (
                abandoned,
                rescue::find_orphans(pool, DEAD_AFTER, 1000).await.unwrap(),
            ),
            (late, rescue::find_overdue(pool, 0.0, 1000).await.unwrap()),
        ];
        self.strays = found.map(|(seen, mut strays)| {
            strays.sort_by_key(|stray| stray.run_id);
            let ids: Vec<_> = strays.iter().map(|stray| stray.run_id).collect();
            assert_eq!(ids, self.ids(seen.iter().map(|seen| seen.run)));
            seen.into_iter().zip(strays).collect()
        });
    }

    pub(super) async fn settle(&mut self) {
        for strays in self.strays.clone() {
            let (mut ends, mut again) = (Vec::new(), (Vec::new(), Vec::new()));
            for (_, stray) in &strays {
                let ending = if stray.cancel_requested {
                    Ending::Cancelled
                } else if stray.overdue || stray.rescues + 1 >= MAX_RESCUES {
                    failed()
                } else {
                    again.0.push(stray.run_id);
                    again.1.push(stray.token);
                    continue;
                };
                ends.push(Finish {
                    run_id: stray.run_id,
                    token: Some(stray.token),
                    final_event_seq: final_seq(stray.epoch + 1),
                    ending,
                    last_step: None,
                });
            }
            rescue::requeue(self.book.pool(), &again.0, &again.1)
                .await
                .unwrap();
            self.end(&ends).await;
            for (seen, _) in strays {
                self.model.settle(seen);
            }
        }
    }

    /// Ends runs that nobody drives, as the rescuer and the API do: what is left of their steps is answered first.
    pub(super) async fn end(&self, ends: &[Finish]) -> usize {
        let ids: Vec<_> = ends.iter().map(|end| end.run_id).collect();
        let closings: Vec<_> = ends.iter().map(Closing::from).collect();
        let mut transaction = self.book.pool().begin().await.unwrap();
        finish::lock(&mut transaction, &ids).await.unwrap();
        pending_calls::close(&mut *transaction, &closings).await.unwrap();
        let ended = finish::finish(&mut *transaction, ends).await.unwrap();
        transaction.commit().await.unwrap();
        ended.len()
    }

    pub(super) async fn expire(&mut self) {
        let expired = approvals::expire(self.book.pool(), 1000).await.unwrap();
        let mut expired: Vec<_> = expired.into_iter().map(|run| (run.run_id, run.epoch)).collect();
        expired.sort_unstable();
        let expected = self.model.expire();
        let expected = expected
            .iter()
            .map(|run| (self.runs[*run], self.model.runs[*run].epoch));
        assert_eq!(expired, expected.collect::<Vec<_>>());
    }
}
