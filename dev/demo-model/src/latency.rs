//! How long the simulated model thinks: a distribution, sampled from a seed.

use std::{str::FromStr, time::Duration};

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use thiserror::Error;

/// How long to wait before answering. Times are milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Latency {
    /// No wait.
    #[default]
    None,
    /// The same for each call.
    Fixed(f64),
    /// Anything between the two, evenly.
    Uniform(f64, f64),
    /// Exponential, with this mean.
    Exponential(f64),
    /// Log-normal, with this median and this sigma.
    LogNormal(f64, f64),
}

/// A latency that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a latency: use fixed:MS, uniform:MIN..MAX, exp:MEAN or lognormal:MEDIAN,SIGMA, in milliseconds"
)]
pub struct BadLatency(String);

/// No call takes longer than this, whatever the distribution's tail says.
const LONGEST_MS: f64 = 600_000.0;

impl Latency {
    /// Draws one wait.
    pub(crate) fn sample(self, draw: &mut SmallRng) -> Duration {
        let millis = match self {
            Self::None => return Duration::ZERO,
            Self::Fixed(millis) => millis,
            Self::Uniform(min, max) => min + (max - min) * draw.random::<f64>(),
            Self::Exponential(mean) => -mean * (1.0 - draw.random::<f64>()).ln(),
            Self::LogNormal(median, sigma) => median * (sigma * normal(draw)).exp(),
        };
        Duration::from_secs_f64(millis.clamp(0.0, LONGEST_MS) / 1000.0)
    }
}

/// A standard normal, by Box and Muller.
fn normal(draw: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - draw.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * draw.random::<f64>()).cos()
}

/// The dice of call number `call` of a server with this seed: the same call draws the same numbers.
pub(crate) fn dice(seed: u64, call: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.rotate_left(32) ^ call.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl FromStr for Latency {
    type Err = BadLatency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadLatency(text.to_owned());
        let number = |part: &str| {
            part.trim()
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite() && (0.0..=LONGEST_MS).contains(n))
                .ok_or_else(bad)
        };
        let Some((kind, rest)) = text.split_once(':') else {
            return number(text).map(Self::Fixed);
        };
        match kind {
            "fixed" => number(rest).map(Self::Fixed),
            "exp" => number(rest).map(Self::Exponential),
            "uniform" => {
                let (min, max) = rest.split_once("..").ok_or_else(bad)?;
                let (min, max) = (number(min)?, number(max)?);
                if min <= max {
                    Ok(Self::Uniform(min, max))
                } else {
                    Err(bad())
                }
            }
            "lognormal" => {
                let (median, sigma) = rest.split_once(',').ok_or_else(bad)?;
                Ok(Self::LogNormal(number(median)?, number(sigma)?))
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(latency: Latency) -> f64 {
        let total: f64 = (0..20_000)
            .map(|n| latency.sample(&mut dice(7, n)).as_secs_f64())
            .sum();
        total / 20_000.0 * 1000.0
    }

    #[test]
    fn every_distribution_is_read() {
        let table = [
            ("50", Latency::Fixed(50.0)),
            ("fixed:50", Latency::Fixed(50.0)),
            ("uniform:20..80", Latency::Uniform(20.0, 80.0)),
            ("exp:50", Latency::Exponential(50.0)),
            ("lognormal:50,0.5", Latency::LogNormal(50.0, 0.5)),
        ];
        for (text, latency) in table {
            assert_eq!(text.parse(), Ok(latency), "{text}");
        }
        for text in [
            "",
            "fast",
            "fixed:",
            "fixed:-1",
            "uniform:80..20",
            "exp:nan",
            "lognormal:50",
            "gamma:1",
        ] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_means_are_right() {
        assert!((mean(Latency::Uniform(20.0, 80.0)) - 50.0).abs() < 1.0);
        assert!((mean(Latency::Exponential(50.0)) - 50.0).abs() < 2.0);
        assert!((mean(Latency::LogNormal(50.0, 0.5)) - 56.7).abs() < 2.0);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let latency = Latency::Exponential(50.0);
        assert_eq!(latency.sample(&mut dice(1, 2)), latency.sample(&mut dice(1, 2)));
        assert_ne!(latency.sample(&mut dice(1, 2)), latency.sample(&mut dice(1, 3)));
    }
}
