//! The client of the model provider: sends a conversation as a streamed Chat Completions request, reads the answer and
//! retries transient errors.
//!
//! It knows nothing about runs, subscribers or transactions: an [`AnswerSink`] receives the text while it arrives.

mod assembler;
mod attempt;
mod calls;
mod chunk;
mod error;
mod finish;
mod lenient;
mod limit;
mod metrics;
mod parameters;
mod provider_data;
mod reader;
mod reasoning;
mod repair;
mod request;
mod sink;
mod sse;
mod tools;
mod transport;

pub(crate) use error::{ErrorKind, ModelError};
pub(crate) use limit::{LimitMetrics, ModelLimit};
pub(crate) use metrics::ModelMetrics;
#[cfg(feature = "fuzzing")]
pub(crate) use reader::fuzz::fuzz_reader;
pub(crate) use sink::AnswerSink;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use errand_agent::{Message, ModelAnswer, ToolSpec, Usage};
use errand_shared::service::{config::Exit, metrics::observe};
use serde_json::value::RawValue;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};
use tracing::Instrument;

use crate::settings::ModelSettings;
use attempt::ModelAttempt;
use parameters::AcceptedParameters;
use reader::AnswerReader;
use request::Request;
use tools::OfferedTools;
use transport::Transport;

/// A client of one model at one server. Connections are pooled.
#[derive(Debug)]
pub(crate) struct ModelClient {
    transport: Transport,
    /// Host and model: data of other models is not sent to this one.
    source: String,
    parameters: AcceptedParameters,
    settings: ModelSettings,
    tools: OfferedTools,
    limit: Arc<ModelLimit>,
    metrics: ModelMetrics,
}

/// The usual estimate of the length of a token.
const BYTES_PER_TOKEN: usize = 4;
/// How long to wait for more of an answer that is complete. Usage follows the finish reason within milliseconds, but some servers
/// keep the connection open after it.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(2);

impl ModelClient {
    /// A client that offers `tools` with every request.
    ///
    /// # Errors
    /// The setting that is invalid.
    pub(crate) fn new(
        settings: ModelSettings,
        tools: Vec<ToolSpec>,
        limit: Arc<ModelLimit>,
        metrics: ModelMetrics,
    ) -> Result<Self, Exit> {
        let transport = Transport::new(&settings)?;
        let host = transport.url().host_str().unwrap_or_default();
        Ok(Self {
            source: format!("{host}/{}", settings.openai_model),
            parameters: AcceptedParameters::new(&settings, transport.url()),
            transport,
            settings,
            tools: OfferedTools::new(tools).map_err(|error| Exit::bad_setting("tools", error))?,
            limit,
            metrics,
        })
    }

    /// The name of the model.
    pub(crate) fn model(&self) -> &str {
        &self.settings.openai_model
    }

    /// What the provider has rejected in the requests since the client exists: parameters and other parts of their form.
    pub(crate) fn rejected_parts(&self) -> Vec<String> {
        self.parameters.changes()
    }

    /// Requests an answer to `messages`. Transient errors are retried until `deadline`. `mcp_tools` are offered with this
    /// request in addition to the client's own tools.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub(crate) async fn ask(
        &self,
        messages: &[Message],
        mcp_tools: &[ToolSpec],
        deadline: Instant,
        sink: &mut impl AnswerSink,
    ) -> Result<ModelAnswer, ModelError> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.settings.model_retry_base_ms)
            .with_max_delay(self.settings.model_retry_max_ms)
            .with_max_times(self.settings.model_retries as usize)
            .with_jitter();
        let tools = self
            .tools
            .json(mcp_tools)
            .map_err(|error| ModelError::Malformed(error.to_string()))?;
        let tools = tools.as_deref();
        // Attempts run one after the other, so that this lock is never contended.
        let sink = Mutex::new(sink);
        let estimated = self.estimate_tokens(messages);
        let attempts = (|| async {
            let mut sink = sink.lock().await;
            let limited = with_flushes(pin!(self.limit.wait(estimated, deadline)), &mut **sink, "").await;
            if let Err(error) = &limited {
                self.metrics.errors.of(error.kind()).inc();
            }
            limited?;
            let mut answer = self.adapted_attempt(messages, tools, &mut **sink).await;
            sink.on_attempt_end().await;
            if let Ok(answer) = &mut answer
                && answer.usage == Usage::default()
            {
                answer.usage = estimate_usage(messages, tools, answer);
            }
            let used = answer.as_ref().map_or(0, |answer| answer.usage.total());
            self.limit.correct(estimated, used).await;
            answer
        })
        .retry(backoff)
        .when(ModelError::is_transient)
        .adjust(|error, delay| match (delay, error.retry_after()) {
            (Some(delay), Some(requested)) => {
                Some(requested.clamp(delay, self.settings.model_retry_max_ms.max(delay)))
            }
            (delay, _) => delay,
        })
        .notify(|error, delay| {
            self.metrics.retries.of(error.kind()).inc();
            tracing::warn!(%error, ?delay, "retrying the model request");
        });
        timeout_at(deadline, attempts).await.unwrap_or_else(|_elapsed| {
            self.metrics.errors.of(ErrorKind::RunDeadline).inc();
            Err(ModelError::RunDeadline)
        })
    }

    /// Estimates the tokens that a request uses: those of its messages, and half of the largest allowed answer.
    fn estimate_tokens(&self, messages: &[Message]) -> u64 {
        let bytes: usize = messages.iter().map(content_bytes).sum();
        (bytes / BYTES_PER_TOKEN) as u64 + u64::from(self.settings.openai_max_tokens / 2)
    }

    /// Makes an attempt, and another one for each request parameter that the provider rejects.
    async fn adapted_attempt(
        &self,
        messages: &[Message],
        tools: Option<&RawValue>,
        sink: &mut impl AnswerSink,
    ) -> Result<ModelAnswer, ModelError> {
        loop {
            let parameters = self.parameters.get();
            let request = Request::new(&self.settings, &self.source, &parameters, messages, tools);
            let answer = self.attempt(&request, sink).await;
            let rejection = answer.as_ref().err().and_then(ModelError::rejection);
            if !rejection.is_some_and(|message| self.parameters.learn(&parameters, message)) {
                return answer;
            }
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        sink: &mut impl AnswerSink,
    ) -> Result<ModelAnswer, ModelError> {
        sink.on_start();
        let attempt = ModelAttempt::start(&self.metrics, &self.settings.openai_model);
        let answer = self.stream(request, sink).instrument(attempt.span()).await;
        attempt.finish(&answer);
        answer
    }

    async fn stream(
        &self,
        request: &Request<'_>,
        sink: &mut impl AnswerSink,
    ) -> Result<ModelAnswer, ModelError> {
        let idle = self.settings.model_idle_timeout_ms;
        let started = Instant::now();
        let deadline = started + self.settings.model_timeout_ms;
        let mut response = {
            let response = self.transport.send(request.json()?);
            let response = pin!(timeout_at(deadline.min(started + idle), response));
            with_flushes(response, sink, "")
                .await
                .map_err(|_elapsed| ModelError::TimedOut)??
        };
        // Boxed, because most of the time is spent in waiting for the response, before there is a reader.
        let mut reader = Box::new(AnswerReader::default());
        let mut quiet_at = Instant::now() + idle;
        let error = loop {
            let next = pin!(timeout_at(deadline.min(quiet_at), response.chunk()));
            let bytes = match with_flushes(next, sink, reader.content()).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => break None,
                Ok(Err(error)) => break Some(error.into()),
                Err(_elapsed) => break Some(ModelError::TimedOut),
            };
            let (length, chunks, had_output) = (reader.content().len(), reader.chunks(), reader.has_output());
            reader.push(&bytes)?;
            if !had_output && reader.has_output() {
                observe(&self.metrics.first_token, started.elapsed());
            }
            if reader.take_restarted() {
                sink.on_start();
                sink.on_delta(reader.content()).await;
            } else if reader.content().len() > length {
                sink.on_delta(reader.content()).await;
            }
            if reader.is_done() {
                break None;
            }
            // Comments do not extend the wait for the rest of a complete answer.
            if !reader.is_complete() {
                quiet_at = Instant::now() + idle;
            } else if reader.chunks() > chunks {
                quiet_at = Instant::now() + COMPLETE_TIMEOUT.min(idle);
            }
        };
        reader.end(error)?;
        sink.on_end(reader.content()).await;
        Ok(reader.into_answer(&self.source))
    }
}

/// The usage of a call that the provider did not report.
fn estimate_usage(messages: &[Message], tools: Option<&RawValue>, answer: &ModelAnswer) -> Usage {
    let tokens = |bytes: usize| bytes.div_ceil(BYTES_PER_TOKEN) as u64;
    let prompt =
        messages.iter().map(content_bytes).sum::<usize>() + tools.map_or(0, |tools| tools.get().len());
    let calls = answer
        .tool_calls
        .iter()
        .map(|call| call.name.len() + call.arguments.len());
    Usage {
        prompt_tokens: tokens(prompt),
        completion_tokens: tokens(answer.content.len() + calls.sum::<usize>()),
        is_estimated: true,
    }
}

/// Bytes of text in a message, as the model sees it.
fn content_bytes(message: &Message) -> usize {
    match message {
        Message::System(prompt) => prompt.bytes(),
        Message::User { content } | Message::Tool { content, .. } => content.len(),
        Message::Assistant {
            content,
            tool_calls,
            provider_data,
        } => {
            let calls = tool_calls
                .iter()
                .map(|call| call.name.len() + call.arguments.len());
            let data = provider_data.as_deref().map_or(0, provider_data::text_bytes);
            content.len() + calls.sum::<usize>() + data
        }
    }
}

/// Waits for `future` and flushes the sink whenever that is due. The caller pins the future, because a future that is
/// passed by value is stored twice.
async fn with_flushes<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
    sink: &mut impl AnswerSink,
    content: &str,
) -> T {
    loop {
        tokio::select! {
            output = &mut future => return output,
            () = sink.flush_due() => Box::pin(sink.flush(content)).await,
        }
    }
}
