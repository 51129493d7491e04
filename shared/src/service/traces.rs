//! Traces: spans of requests, runs, model calls and tools, sent to a collector over OTLP if one is set.
//!
//! Spans that are for traces have the target [`TARGET`] and the level `TRACE`: logs do not show them, and without a collector
//! they are never made. Across the queue a trace goes on by its `traceparent` (W3C Trace Context), which stands in the run's row.

mod context;
mod sender;

pub use context::{adopt, traceparent};

use std::time::Duration;

use clap::Args;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{Layer, Registry, filter::FilterFn};

use self::sender::Sender;
use super::{config::Exit, telemetry::Extra};

/// The target of spans that are for traces.
pub const TARGET: &str = "errand_trace";

/// How long the collector may take to answer, and the last spans to go out.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where traces go.
#[derive(Args, Clone, Debug, Default)]
pub struct TraceSettings {
    /// Collector of traces: OTLP over plain HTTP (protobuf), as a URL without `/v1/traces`. No traces if absent.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
}

/// The traces of a process.
#[derive(Debug)]
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// Begins to send traces if there is a collector; gives what is to be put into the process's logging. Must be called
    /// within a tokio runtime. How many requests are traced is up to `OTEL_TRACES_SAMPLER`, all if it is not set.
    ///
    /// # Errors
    /// A bad setting.
    pub fn start(
        settings: &TraceSettings,
        program: &'static str,
        version: &'static str,
    ) -> Result<(Self, Option<Extra>), Exit> {
        let Some(endpoint) = &settings.otel_exporter_otlp_endpoint else {
            return Ok((Self { provider: None }, None));
        };
        let bad = |reason: String| Exit::bad_setting("OTEL_EXPORTER_OTLP_ENDPOINT", reason);
        if !endpoint.starts_with("http://") {
            return Err(bad(
                "must be an http URL; for TLS put a collector beside the program".to_owned(),
            ));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new())
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name(program)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        // Batches of a thread of its own; what its bounded queue can't take is dropped.
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        let layer = tracing_opentelemetry::layer::<Registry>()
            .with_tracer(provider.tracer("errand"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_filter(
                FilterFn::new(is_traced as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::TRACE),
            );
        let provider = Some(provider);
        Ok((Self { provider }, Some(layer.boxed())))
    }

    /// Sends what is left.
    pub async fn end(self) {
        let Some(provider) = self.provider else { return };
        // It blocks until the last batch is sent, which needs the runtime.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(PATIENCE)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!("the last traces did not go out");
        }
    }
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

/// Makes a span that is for traces: a name, then fields as of `tracing::span!`.
#[macro_export]
macro_rules! trace {
    ($($span:tt)+) => {
        ::tracing::trace_span!(target: $crate::service::traces::TARGET, $($span)+)
    };
}
