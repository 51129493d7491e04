//! Traces: spans of requests, runs, model calls and tools, exported over OTLP if a collector is configured.
//!
//! Trace spans have the target [`TARGET`] and the level `TRACE`, so logs do not contain them, and without a collector they are
//! never created. A trace crosses the queue by its `traceparent` (W3C Trace Context), which is stored in the run's row.

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

/// The target of trace spans.
pub const TARGET: &str = "errand_trace";

/// The time limit of an export, and of the last one at shutdown.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Settings of the trace export.
#[derive(Args, Clone, Debug, Default)]
pub struct TraceSettings {
    /// Trace collector: OTLP over plain HTTP (protobuf), as a URL without `/v1/traces`. Without it there are no traces.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
}

/// The trace export of a process.
#[derive(Debug)]
pub struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// Starts the export if a collector is configured, and returns the layer for [`telemetry::init`](super::telemetry::init). Must be
    /// called within a tokio runtime. `OTEL_TRACES_SAMPLER` selects the requests to trace; by default all are.
    ///
    /// # Errors
    /// The bad setting.
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
                "must be an http URL; for TLS, run a collector on the same host".to_owned(),
            ));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new())
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name(program)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        // Exports in batches on a thread of its own. Its queue is bounded: when it is full, spans are dropped.
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

    /// Exports the remaining spans.
    pub async fn end(self) {
        let Some(provider) = self.provider else { return };
        // Blocks until the last batch is sent, which needs the runtime.
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(EXPORT_TIMEOUT)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!("the last traces could not be exported");
        }
    }
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

/// Creates a trace span. Takes a name, then fields as `tracing::span!` does.
#[macro_export]
macro_rules! trace {
    ($($span:tt)+) => {
        ::tracing::trace_span!(target: $crate::service::traces::TARGET, $($span)+)
    };
}
