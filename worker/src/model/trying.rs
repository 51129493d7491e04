//! Counts one try of a model call, however it ends.

use errand_agent::ModelAnswer;
use errand_shared::service::metrics::{Held, LabelValue, observe};
use tokio::time::Instant;
use tracing::{Span, field::Empty};

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
    span: Span,
    _in_flight: Held,
}

impl<'a> Trying<'a> {
    /// Begins a try with this model.
    pub(super) fn begin(metrics: &'a ModelMetrics, model: &str) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            outcome: Try::Abandoned,
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

    /// What it is in a trace.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Ends it with what came of it.
    pub(super) fn end(mut self, answer: &Result<ModelAnswer, ModelFault>) {
        match answer {
            Ok(answer) => {
                self.outcome = Try::Ok;
                observe(&self.metrics.duration, self.began.elapsed());
                self.span
                    .record("gen_ai.usage.input_tokens", answer.usage.prompt_tokens);
                self.span
                    .record("gen_ai.usage.output_tokens", answer.usage.completion_tokens);
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
                self.span.record("otel.status_code", "ERROR");
                self.span.record("error.type", fault.kind().as_str());
            }
        }
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.metrics.requests.of(self.outcome).inc();
    }
}
