//! Calls the model while the previous step is still being committed.
//!
//! The results of a step's tools are known before the step's transaction commits, and the model needs nothing but these results. So
//! the next model call starts as soon as they are known, in parallel with the commit.
//!
//! **Invariant: no model output is published, acted on or stored before the step's commit; if the commit fails, the output is
//! discarded.** Three parts keep it:
//! - [`run_tools`] returns the results early, together with a [`CommitInFlight`]. Results returned early are final: the step is
//!   never executed again, because a second execution could have other results.
//! - [`CommitGate`] makes the event emitter hold back all events until the commit; [`CommitInFlight::finish`] opens it.
//! - The driver polls the commit beside the model call. It takes no answer before the gate is open, and drops the model call if the
//!   commit fails.

use std::{sync::Arc, time::Duration};

use errand_shared::{
    service::failpoints::{self, Failpoint},
    signals::delivery::DeliveryState,
    storage::journal::steps::RecordedCall,
};
use futures::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    failure::RunFailure,
    step_transaction::{self, ToolStep},
};
use crate::context::Context;

/// A step whose results are known and whose transaction is not committed yet.
pub(super) struct CommitInFlight<'a> {
    context: &'a Context,
    step: Arc<ToolStep>,
    transaction: BoxFuture<'a, Result<Vec<RecordedCall>, RunFailure>>,
    /// Wakes the event emitter after the commit.
    delivery: Option<Arc<DeliveryState>>,
    model_time: Duration,
    started: Instant,
}

/// Runs a step's tools. Returns the calls as soon as their results are known. The second value is the commit, if it has not finished
/// by then. `model_time` is how long the model took for the step, `started` is when the tools started.
///
/// # Errors
/// As [`step_transaction::perform`].
pub(super) async fn run_tools(
    context: &Context,
    step: Arc<ToolStep>,
    model_time: Duration,
    started: Instant,
) -> Result<(Vec<RecordedCall>, Option<Box<CommitInFlight<'_>>>), RunFailure> {
    let mut transaction = step_transaction::perform(&context.steps, &context.pool, Arc::clone(&step))
        .instrument(errand_shared::trace!("tools"))
        .boxed();
    let results = tokio::select! {
        biased;
        records = &mut transaction => Ok(records),
        results = step.early_results() => Err(results.to_vec()),
    };
    match results {
        Ok(records) => {
            let records = records?;
            committed(context, model_time, &records, started);
            Ok((records, None))
        }
        Err(results) => {
            let commit = CommitInFlight {
                context,
                step,
                transaction,
                delivery: None,
                model_time,
                started,
            };
            Ok((results, Some(Box::new(commit))))
        }
    }
}

impl CommitInFlight<'_> {
    /// Sets what [`Self::finish`] wakes after the commit, so that held-back events are published.
    pub(super) fn wake_when_committed(&mut self, delivery: Arc<DeliveryState>) {
        self.delivery = Some(delivery);
    }

    /// Waits for the commit, then opens the [`CommitGate`].
    ///
    /// # Errors
    /// As [`step_transaction::perform`].
    pub(super) async fn finish(&mut self) -> Result<(), RunFailure> {
        let records = (&mut self.transaction).await?;
        committed(self.context, self.model_time, &records, self.started);
        self.step.mark_committed();
        if let Some(delivery) = &self.delivery {
            delivery.wake();
        }
        Ok(())
    }
}

fn committed(context: &Context, model_time: Duration, records: &[RecordedCall], started: Instant) {
    let metrics = &context.metrics;
    metrics.step_finished(model_time, records, started.elapsed());
    failpoints::hit(Failpoint::StepCommitted);
}

/// Holds the emitter's events back until a step is committed.
#[derive(Debug, Default)]
pub(super) struct CommitGate(Option<Arc<ToolStep>>);

impl CommitGate {
    /// Holds events back until this step is committed.
    pub(super) fn close(&mut self, step: Arc<ToolStep>) {
        self.0 = Some(step);
    }

    /// The step whose results must be published before anything else, if there is one.
    pub(super) fn step(&self) -> Option<Arc<ToolStep>> {
        self.0.clone()
    }

    /// Whether the step is still being committed.
    pub(super) fn is_closed(&self) -> bool {
        self.0.as_ref().is_some_and(|step| !step.is_committed())
    }

    /// The step's results are about to be published: nothing is held back any more.
    pub(super) fn open(&mut self) {
        self.0 = None;
    }
}
