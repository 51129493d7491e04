//! Metrics whose values are kept elsewhere and read at each scrape.

use std::{
    fmt::{Debug, Error, Formatter},
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// The labels of one series and its value.
pub type Series<const N: usize> = ([(&'static str, &'static str); N], f64);

/// A gauge of several series.
pub(super) struct Readings<const N: usize> {
    name: &'static str,
    help: &'static str,
    read: Arc<dyn Fn() -> Vec<Series<N>> + Send + Sync>,
}

impl<const N: usize> Readings<N> {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        read: Arc<dyn Fn() -> Vec<Series<N>> + Send + Sync>,
    ) -> Self {
        Self { name, help, read }
    }
}

impl<const N: usize> Debug for Readings<N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result<(), Error> {
        f.debug_struct("Readings")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<const N: usize> Collector for Readings<N> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let series = (self.read)();
        if series.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (labels, value) in &series {
            ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
        }
        Ok(())
    }
}

/// A counter whose value is kept elsewhere.
pub(super) struct Total<F> {
    name: &'static str,
    help: &'static str,
    read: F,
}

impl<F> Total<F> {
    pub(super) const fn new(name: &'static str, help: &'static str, read: F) -> Self {
        Self { name, help, read }
    }
}

impl<F> Debug for Total<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result<(), Error> {
        f.debug_struct("Total")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for Total<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Counter)?;
        ConstCounter::new((self.read)()).encode(metric)
    }
}
