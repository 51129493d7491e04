//! What is known about the context window of an agent's model.

use std::sync::atomic::{AtomicUsize, Ordering};

use errand_agent::AgentRun;

use crate::model::ModelError;

/// The smallest transcript that the model has rejected as too long, in estimated tokens. Kept until the process ends.
#[derive(Debug)]
pub(crate) struct ContextWindow(AtomicUsize);

impl Default for ContextWindow {
    /// Nothing is known.
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl ContextWindow {
    /// Whether the model has rejected a transcript of this size. The estimate takes time, so it is made only if one was rejected.
    pub(crate) fn is_exceeded_by(&self, run: &AgentRun) -> bool {
        let rejected = self.0.load(Ordering::Relaxed);
        rejected != usize::MAX && run.estimated_tokens() >= rejected
    }

    /// Remembers that a transcript of `tokens` was rejected.
    pub(crate) fn exceeded(&self, tokens: usize, error: &ModelError) {
        if !error.is_context_overflow() {
            tracing::warn!(%error, "the model gave no answer; trying again with a shorter history");
        } else if self.0.fetch_min(tokens, Ordering::Relaxed) > tokens {
            tracing::warn!(
                tokens,
                %error,
                "the conversation exceeds the model's context window; HISTORY_MAX_TOKENS is too large for this model"
            );
        }
    }
}
