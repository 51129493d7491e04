//! Where the model client sends an answer while the model is still writing it.

/// Receives the visible text of an answer as it grows.
///
/// The client knows nothing about runs, subscribers or transactions. It calls the sink for every piece of text, and while it waits
/// for the model it calls [`flush`](AnswerSink::flush) whenever the sink has delayed text that must be published.
pub(crate) trait AnswerSink: Send {
    /// An attempt starts. Text of an earlier attempt is void.
    fn on_start(&mut self);

    /// The text has grown to `content`.
    fn on_delta(&mut self, content: &str) -> impl Future<Output = ()> + Send;

    /// The text is complete: `content` is all of it.
    fn on_end(&mut self, content: &str) -> impl Future<Output = ()> + Send;

    /// The attempt has ended, with an answer or an error. The sink publishes what it holds back before another attempt starts.
    fn on_attempt_end(&mut self) -> impl Future<Output = ()> + Send;

    /// Resolves when [`flush`](AnswerSink::flush) has something to do.
    fn flush_due(&self) -> impl Future<Output = ()> + Send;

    /// Publishes delayed text. `content` is the text so far.
    fn flush(&mut self, content: &str) -> impl Future<Output = ()> + Send;
}
