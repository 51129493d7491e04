//! The metrics registry of a process, in Prometheus' text format. `docs/METRICS.md` lists all metrics.
//!
//! Observing a value allocates nothing: labels have fixed lists of values, and every series exists from the start. This module knows
//! no HTTP.

mod label;
mod reading;

pub use label::{By, LabelValue};
pub use prometheus_client::{
    encoding::{EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
pub use reading::Series;

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text},
    metrics::{family::MetricConstructor, info::Info},
    registry::{Metric, Registry},
};

use self::reading::{Readings, Total};
use crate::{
    signals::notifier::Notifier,
    storage::{Pool, schema},
};

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The range of a histogram's buckets.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    /// 0.5 ms to 10 s, for statements and commits.
    Short,
    /// 5 ms to 10 minutes, for model calls, runs and requests that wait for them.
    Long,
}

/// Upper bounds of the buckets of [`Span::Short`], in seconds.
const SHORT: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds of the buckets of [`Span::Long`], in seconds.
const LONG: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

impl Span {
    /// An empty histogram.
    pub fn histogram(self) -> Histogram {
        match self {
            Self::Short => Histogram::new(SHORT),
            Self::Long => Histogram::new(LONG),
        }
    }
}

/// The registry of a process. Names are passed without the prefix `errand_`, and those of counters without `_total`.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// Creates a registry with the metric `errand_build_info`.
    pub fn new(program: &'static str, version: &'static str) -> Self {
        let mut metrics = Self(Registry::with_prefix("errand"));
        let build = Info::new([
            ("program", program.to_owned()),
            ("version", version.to_owned()),
            ("schema", schema::GENERATION.to_string()),
        ]);
        metrics.add(
            "build",
            "Program, version and schema generation of this process",
            build,
        );
        metrics
    }

    /// Registers an existing metric.
    pub fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    /// Registers a counter.
    pub fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.add(name, help, counter.clone());
        counter
    }

    /// Registers a gauge.
    pub fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.add(name, help, gauge.clone());
        gauge
    }

    /// Registers a histogram.
    pub fn histogram(&mut self, name: &str, help: &str, span: Span) -> Histogram {
        let histogram = span.histogram();
        self.add(name, help, histogram.clone());
        histogram
    }

    /// Registers a counter with one series per value of a label.
    pub fn counters<V: LabelValue>(&mut self, name: &str, help: &str) -> By<V, Counter> {
        let by = By::new(Counter::default);
        self.add(name, help, by.family());
        by
    }

    /// Registers a histogram with one series per value of a label.
    pub fn histograms<V: LabelValue>(&mut self, name: &str, help: &str, span: Span) -> By<V, Histogram> {
        let by = By::new(match span {
            Span::Short => || Span::Short.histogram(),
            Span::Long => || Span::Long.histogram(),
        });
        self.add(name, help, by.family());
        by
    }

    /// Registers a family whose series are created on first use, for labels without a fixed list, such as routes.
    pub fn family<S, M, C>(&mut self, name: &str, help: &str, make: C) -> Family<S, M, C>
    where
        S: EncodeLabelSet + Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static,
        M: prometheus_client::encoding::EncodeMetric
            + prometheus_client::metrics::TypedMetric
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
        C: MetricConstructor<M> + Clone + Send + Sync + 'static,
    {
        let family = Family::new_with_constructor(make);
        self.add(name, help, family.clone());
        family
    }

    /// Registers a gauge whose value is read at each scrape.
    pub fn reading(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.readings(name, help, move || vec![([], read())]);
    }

    /// Registers a gauge with several series, read at each scrape.
    pub fn readings<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Vec<Series<N>> + Send + Sync + 'static,
    ) {
        self.0
            .register_collector(Box::new(Readings::new(name, help, Arc::new(read))));
    }

    /// Registers the gauges of connection pools.
    pub fn pools(&mut self, pools: &[(&'static str, Pool)]) {
        let named: Arc<[_]> = pools.into();
        let pools = Arc::clone(&named);
        self.readings("database_connections", "Connections to Postgres", move || {
            let states = |(name, pool): &(&'static str, Pool)| {
                let usage = pool.usage();
                [
                    ([("pool", *name), ("state", "busy")], whole(usage.busy)),
                    ([("pool", *name), ("state", "idle")], whole(usage.idle)),
                ]
            };
            pools.iter().flat_map(states).collect()
        });
        let pools = Arc::clone(&named);
        self.readings(
            "database_connections_max",
            "Maximum number of connections to Postgres",
            move || {
                let max = |(name, pool): &(&'static str, Pool)| ([("pool", *name)], whole(pool.usage().max));
                pools.iter().map(max).collect()
            },
        );
        self.readings(
            "database_waiting",
            "Callers that wait for a connection to Postgres",
            move || {
                let waiting =
                    |(name, pool): &(&'static str, Pool)| ([("pool", *name)], whole(pool.usage().waiting));
                named.iter().map(waiting).collect()
            },
        );
    }

    /// Registers the metrics of the notifier.
    pub fn notifier(&mut self, notifier: &Notifier) {
        let source = notifier.clone();
        self.reading("publish_waiting", "Redis messages not sent yet", move || {
            whole(source.waiting())
        });
        let source = notifier.clone();
        let lost = Total::new(
            "publish_lost",
            "Redis messages lost because the buffer was full or Redis failed",
            move || source.lost(),
        );
        self.0.register_collector(Box::new(lost));
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric cannot be encoded.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(64 * 1024);
        prometheus_text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// Converts a count to the value of a gauge.
pub fn whole(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// Converts a flag to the value of a gauge: 1 or 0.
pub fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// Increments a gauge until it is dropped.
#[derive(Debug)]
pub struct Held(Gauge);

impl Held {
    /// Increments the gauge.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Observes a duration in a histogram.
pub fn observe(histogram: &Histogram, time: Duration) {
    histogram.observe(time.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::label_values! {
        /// A test label.
        enum Ending: "ending" {
            Good = "good",
            Bad = "bad",
        }
    }

    #[test]
    fn every_series_of_a_label_exists_from_the_start() {
        let mut metrics = Metrics::new("test", "0");
        let endings = metrics.counters::<Ending>("endings", "Endings by kind");
        endings.of(Ending::Good).inc();
        let text = metrics.text().unwrap();
        assert!(
            text.contains("errand_endings_total{ending=\"good\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("errand_endings_total{ending=\"bad\"} 0\n"),
            "{text}"
        );
    }

    #[test]
    fn held_counts_until_dropped() {
        let mut metrics = Metrics::new("test", "0");
        let gauge = metrics.gauge("things", "Things");
        let held = (Held::new(&gauge), Held::new(&gauge));
        assert_eq!(gauge.get(), 2);
        drop(held);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn readings_are_taken_at_each_scrape() {
        let mut metrics = Metrics::new("test", "0");
        metrics.reading("level", "A level", || 1.5);
        metrics.readings::<1>("nothing", "A gauge without series", Vec::new);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("# TYPE errand_level gauge\nerrand_level 1.5\n"),
            "{text}"
        );
        assert!(text.contains("errand_build_info{program=\"test\""), "{text}");
        assert!(!text.contains("\nerrand_nothing"), "{text}");
    }
}
