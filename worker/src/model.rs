//! The model's server: one streamed call, tried again after passing faults. The only user of async-openai.

mod chunks;
mod fault;
mod gather;
mod limit;
mod transport;
mod trying;
mod wire;

pub(crate) use fault::ModelFault;
pub(crate) use limit::{LimitMetrics, ModelLimit};

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use backon::{ExponentialBuilder, Retryable};
use errand_agent::{Message, ModelAnswer, ToolSpec};
use errand_shared::service::{config::Exit, metrics::observe};
use futures::StreamExt;
use serde_json::value::RawValue;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tracing::Instrument;

use crate::{
    metrics::{Fault, ModelMetrics},
    run::events::EventEmitter,
    settings::ModelSettings,
};
use gather::Gather;
use transport::Transport;
use trying::Trying;
use wire::Request;

/// A client of the model's server; connections are kept and shared.
#[derive(Debug)]
pub(crate) struct ModelClient {
    transport: Transport,
    settings: ModelSettings,
    tools: Vec<ToolSpec>,
    /// The same as JSON, written once for all requests that are offered no others. None if there are none.
    written: Option<Box<RawValue>>,
    limit: Arc<ModelLimit>,
    metrics: ModelMetrics,
}

/// Bytes of a token, by the usual estimate.
const BYTES_A_TOKEN: usize = 4;

impl ModelClient {
    /// A client that offers these tools with every call, before others that a call may bring.
    ///
    /// # Errors
    /// The bad setting.
    pub(crate) fn new(
        settings: ModelSettings,
        tools: Vec<ToolSpec>,
        limit: Arc<ModelLimit>,
        metrics: ModelMetrics,
    ) -> Result<Self, Exit> {
        Ok(Self {
            transport: Transport::new(&settings)?,
            settings,
            written: wire::offers(tools.iter()).map_err(|error| Exit::bad_setting("tools", error))?,
            tools,
            limit,
            metrics,
        })
    }

    /// Asks the model, trying again after passing faults until `deadline`; who reads the run hears the answer as it comes.
    /// `others` are tools that are on offer this time only.
    ///
    /// # Errors
    /// The last fault.
    pub(crate) async fn ask(
        &self,
        messages: &[Message],
        others: &[ToolSpec],
        deadline: Instant,
        telling: &mut EventEmitter<'_>,
    ) -> Result<ModelAnswer, ModelFault> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.settings.model_retry_base_ms)
            .with_max_delay(self.settings.model_retry_max_ms)
            .with_max_times(self.settings.model_retries as usize)
            .with_jitter();
        let all = (!others.is_empty()).then(|| wire::offers(self.tools.iter().chain(others)));
        let all = all
            .transpose()
            .map_err(|error| ModelFault::Malformed(error.to_string()))?
            .flatten();
        let request = Request::new(
            &self.settings,
            messages,
            all.as_deref().or(self.written.as_deref()),
        );
        // One try at a time: it is never waited for.
        let telling = Mutex::new(telling);
        let thought = self.estimate(messages);
        let tries = (|| async {
            let mut telling = telling.lock().await;
            let waited = attended(pin!(self.limit.wait(thought, deadline)), *telling, "").await;
            if let Err(fault) = &waited {
                self.metrics.errors.of(fault.kind()).inc();
            }
            waited?;
            let answer = self.ask_once(&request, *telling).await;
            // Who reads does not wait for another try to hear of the step before.
            telling.wait_for_commit().await;
            let taken = answer.as_ref().map_or(0, |answer| answer.usage.total());
            self.limit.correct(thought, taken).await;
            answer
        })
        .retry(backoff)
        .when(ModelFault::is_passing)
        .adjust(|fault, delay| match (delay, fault.retry_after()) {
            (Some(delay), Some(wanted)) => Some(wanted.clamp(delay, self.settings.model_retry_max_ms)),
            (delay, _) => delay,
        })
        .notify(|fault, delay| {
            self.metrics.retries.of(fault.kind()).inc();
            tracing::warn!(%fault, ?delay, "the model is asked again");
        });
        timeout_at(deadline, tries).await.unwrap_or_else(|_elapsed| {
            self.metrics.errors.of(Fault::RunDeadline).inc();
            Err(ModelFault::RunDeadline)
        })
    }

    /// Tokens that a call will take: what it shows the model, and half of what the answer may take.
    fn estimate(&self, messages: &[Message]) -> u64 {
        let shown: usize = messages.iter().map(bytes_of).sum();
        (shown / BYTES_A_TOKEN) as u64 + u64::from(self.settings.openai_max_tokens / 2)
    }

    async fn ask_once(
        &self,
        request: &Request<'_>,
        telling: &mut EventEmitter<'_>,
    ) -> Result<ModelAnswer, ModelFault> {
        telling.on_start();
        let trying = Trying::begin(&self.metrics, &self.settings.openai_model);
        let answer = timeout(self.settings.model_timeout_ms, self.stream(request, telling))
            .instrument(trying.span())
            .await
            .unwrap_or(Err(ModelFault::TimedOut));
        trying.end(&answer);
        answer
    }

    async fn stream(
        &self,
        request: &Request<'_>,
        telling: &mut EventEmitter<'_>,
    ) -> Result<ModelAnswer, ModelFault> {
        let idle = self.settings.model_idle_timeout_ms;
        let asked = Instant::now();
        let response = {
            let opening = pin!(timeout(idle, self.transport.send(request.json()?)));
            attended(opening, telling, "")
                .await
                .map_err(|_elapsed| ModelFault::TimedOut)??
        };
        let mut chunks = chunks::chunks(response.bytes_stream());
        let mut gather = Gather::default();
        while let Some(chunk) = attended(pin!(timeout(idle, chunks.next())), telling, gather.content())
            .await
            .map_err(|_elapsed| ModelFault::TimedOut)?
        {
            let before = gather.content().len();
            let began = gather.has_begun();
            gather.add(chunk?)?;
            if !began && gather.has_begun() {
                observe(&self.metrics.first_token, asked.elapsed());
            }
            if gather.content().len() > before {
                telling.on_delta(gather.content()).await;
            }
        }
        telling.on_end(gather.content()).await;
        gather.finish()
    }
}

/// Bytes of text that a message shows the model.
fn bytes_of(message: &Message) -> usize {
    match message {
        Message::System(prompt) => prompt.bytes(),
        Message::User { content } | Message::Tool { content, .. } => content.len(),
        Message::Assistant { content, tool_calls } => {
            let calls = tool_calls
                .iter()
                .map(|call| call.name.len() + call.arguments.len());
            content.len() + calls.sum::<usize>()
        }
    }
}

/// Waits for the model, and tells meanwhile what is due of the answer so far. The model's part is pinned by the caller, since a
/// future that is handed over is held twice.
async fn attended<T>(
    mut model: Pin<&mut impl Future<Output = T>>,
    telling: &mut EventEmitter<'_>,
    content: &str,
) -> T {
    loop {
        tokio::select! {
            said = &mut model => return said,
            () = telling.flush_due() => Box::pin(telling.flush(content)).await,
        }
    }
}
