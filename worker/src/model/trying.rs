//! Counts one try of a model call, however it ends.

use errand_agent::ModelAnswer;
use errand_shared::metrics::{Held, observe};
use tokio::time::Instant;

use super::ModelFault;
use crate::metrics::{Direction, ModelMetrics, Try};

/// Tokens of one answer that are believed, at most.
const MOST_TOKENS: u64 = 1_000_000_000;

/// A try that is under way. One that is dropped before its end was abandoned.
#[derive(Debug)]
pub(super) struct Trying<'a> {
    metrics: &'a ModelMetrics,
    began: Instant,
    outcome: Try,
    _in_flight: Held,
}

impl<'a> Trying<'a> {
    /// Begins a try.
    pub(super) fn begin(metrics: &'a ModelMetrics) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            outcome: Try::Abandoned,
            _in_flight: Held::new(&metrics.in_flight),
        }
    }

    /// Ends it with what came of it.
    pub(super) fn end(mut self, answer: &Result<ModelAnswer, ModelFault>) {
        match answer {
            Ok(answer) => {
                self.outcome = Try::Ok;
                observe(&self.metrics.duration, self.began.elapsed());
                for (direction, tokens) in [
                    (Direction::Prompt, answer.usage.prompt_tokens),
                    (Direction::Completion, answer.usage.completion_tokens),
                ] {
                    self.metrics.tokens.of(direction).inc_by(tokens.min(MOST_TOKENS));
                }
            }
            Err(fault) => {
                self.outcome = Try::failed(fault.kind());
                self.metrics.errors.of(fault.kind()).inc();
            }
        }
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.metrics.requests.of(self.outcome).inc();
    }
}
