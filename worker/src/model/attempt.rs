//! Measures one attempt of a model request: duration, outcome, tokens and its trace span.

use errand_agent::ModelAnswer;
use errand_shared::service::metrics::{Held, LabelValue, observe};
use tokio::time::Instant;
use tracing::{Span, field::Empty};

use super::{
    ModelError,
    metrics::{AttemptOutcome, Direction, ModelMetrics},
};

/// The largest token count of an answer that is added to the metrics; a larger one is an error of the provider.
const MAX_TOKENS: u64 = 1_000_000_000;

/// An attempt in progress. If it is dropped before [`finish`](Self::finish) it counts as abandoned.
#[derive(Debug)]
pub(super) struct ModelAttempt<'a> {
    metrics: &'a ModelMetrics,
    started: Instant,
    outcome: AttemptOutcome,
    span: Span,
    _in_flight: Held,
}

impl<'a> ModelAttempt<'a> {
    pub(super) fn start(metrics: &'a ModelMetrics, model: &str) -> Self {
        Self {
            metrics,
            started: Instant::now(),
            outcome: AttemptOutcome::Abandoned,
            span: errand_shared::trace!(
                "model call",
                otel.kind = "client",
                otel.status_code = Empty,
                error.type = Empty,
                gen_ai.request.model = model,
                gen_ai.usage.input_tokens = Empty,
                gen_ai.usage.output_tokens = Empty,
            ),
            _in_flight: Held::new(&metrics.in_flight),
        }
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the result.
    pub(super) fn finish(mut self, answer: &Result<ModelAnswer, ModelError>) {
        match answer {
            Ok(answer) => {
                self.outcome = AttemptOutcome::Ok;
                observe(&self.metrics.duration, self.started.elapsed());
                self.span
                    .record("gen_ai.usage.input_tokens", answer.usage.prompt_tokens);
                self.span
                    .record("gen_ai.usage.output_tokens", answer.usage.completion_tokens);
                for (direction, tokens) in [
                    (Direction::Prompt, answer.usage.prompt_tokens),
                    (Direction::Completion, answer.usage.completion_tokens),
                ] {
                    self.metrics.tokens.of(direction).inc_by(tokens.min(MAX_TOKENS));
                }
            }
            Err(error) => {
                self.outcome = AttemptOutcome::Failed;
                self.metrics.errors.of(error.kind()).inc();
                self.span.record("otel.status_code", "ERROR");
                self.span.record("error.type", error.kind().as_str());
            }
        }
    }
}

impl Drop for ModelAttempt<'_> {
    fn drop(&mut self) {
        self.metrics.requests.of(self.outcome).inc();
    }
}
