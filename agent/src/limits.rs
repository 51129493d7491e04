//! The bounds of a run.

/// The bounds of a run; a run that keeps to them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Model calls in one attempt of a run. The last of them must be the reply: tools that it asks for are not
    /// called, because nobody could tell what came of them.
    pub max_steps: u16,
    /// Tool calls in one step; those beyond are answered with a `VALIDATION_ERROR`.
    pub max_calls_per_step: usize,
    /// Tool calls in a run, refused ones included.
    pub max_calls: usize,
    /// Bytes of JSON text in the arguments of one call; larger ones are answered with a `VALIDATION_ERROR`.
    pub max_argument_bytes: usize,
    /// Bytes of JSON text in one tool's result; of a larger one the model sees the beginning.
    pub max_result_bytes: usize,
    /// Messages of earlier turns that the model is shown.
    pub history_max_messages: usize,
    /// Tokens, by a rough estimate, of the earlier turns that the model is shown.
    pub history_max_tokens: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 10,
            max_calls_per_step: 16,
            max_calls: 64,
            max_argument_bytes: 16 * 1024,
            max_result_bytes: 256 * 1024,
            history_max_messages: 50,
            history_max_tokens: 16_000,
        }
    }
}
