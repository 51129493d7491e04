//! Observes how an answer arrives: in how many pieces, and how soon.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::AnswerSink;

/// An [`AnswerSink`] that counts pieces of text.
#[derive(Debug, Default)]
pub(super) struct Observer {
    started: Option<Instant>,
    /// Pieces of text before the end of the answer. A text that is not streamed has none.
    pub(super) pieces: usize,
    /// The time from the request to the first piece.
    pub(super) first_piece: Option<Duration>,
}

impl AnswerSink for Observer {
    fn on_start(&mut self) {
        // Within an answer, the text starts again if the text so far was reasoning.
        if self.pieces == 0 {
            self.started = Some(Instant::now());
        }
    }

    async fn on_delta(&mut self, _content: &str) {
        self.pieces += 1;
        if self.first_piece.is_none() {
            self.first_piece = self.started.map(|started| started.elapsed());
        }
    }

    async fn on_end(&mut self, _content: &str) {}

    async fn on_attempt_end(&mut self) {}

    async fn flush_due(&self) {
        std::future::pending::<()>().await;
    }

    async fn flush(&mut self, _content: &str) {}
}
