//! The time that the model takes for an answer: a distribution sampled from a seed, and a timer that is precise enough for it.

use std::{str::FromStr, time::Duration};

use futures_timer::Delay;
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use thiserror::Error;

/// The delay before each answer. Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Latency {
    /// No delay.
    #[default]
    None,
    /// The same delay for every request.
    Fixed(f64),
    /// Uniform between a minimum and a maximum.
    Uniform(f64, f64),
    /// Exponential with this mean.
    Exponential(f64),
    /// Log-normal with this median and sigma.
    LogNormal(f64, f64),
}

/// A text that is not a valid latency.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a latency; expected fixed:MS, uniform:MIN..MAX, exp:MEAN or lognormal:MEDIAN,SIGMA, in milliseconds"
)]
pub struct InvalidLatency(String);

/// The upper bound for samples from a distribution's tail.
const MAX_MS: f64 = 600_000.0;

impl Latency {
    pub(crate) fn sample(self, rng: &mut SmallRng) -> Duration {
        let millis = match self {
            Self::None => return Duration::ZERO,
            Self::Fixed(millis) => millis,
            Self::Uniform(min, max) => min + (max - min) * rng.random::<f64>(),
            Self::Exponential(mean) => -mean * (1.0 - rng.random::<f64>()).ln(),
            Self::LogNormal(median, sigma) => median * (sigma * normal(rng)).exp(),
        };
        Duration::from_secs_f64(millis.clamp(0.0, MAX_MS) / 1000.0)
    }
}

/// A sample of the standard normal distribution (Box-Muller transform).
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// The random numbers for one request. They depend only on the server's seed and the request's number.
pub(crate) fn request_rng(seed: u64, number: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.rotate_left(32) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// From this duration on, tokio's timer is used: it can be up to two milliseconds late, because it rounds up to whole
/// milliseconds twice (in its timer wheel and for `epoll`), but it does not wake another thread.
const TOKIO_TIMER_FROM: Duration = Duration::from_secs(1);

/// Sleeps without the rounding of tokio's timer if `time` is short.
pub(crate) async fn sleep(time: Duration) {
    if time < TOKIO_TIMER_FROM {
        Delay::new(time).await;
    } else {
        tokio::time::sleep(time).await;
    }
}

impl FromStr for Latency {
    type Err = InvalidLatency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || InvalidLatency(text.to_owned());
        let number = |part: &str| {
            part.trim()
                .parse::<f64>()
                .ok()
                .filter(|n| n.is_finite() && (0.0..=MAX_MS).contains(n))
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
            .map(|n| latency.sample(&mut request_rng(7, n)).as_secs_f64())
            .sum();
        total / 20_000.0 * 1000.0
    }

    #[test]
    fn parses_every_distribution() {
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
    fn samples_have_the_expected_mean() {
        assert!((mean(Latency::Uniform(20.0, 80.0)) - 50.0).abs() < 1.0);
        assert!((mean(Latency::Exponential(50.0)) - 50.0).abs() < 2.0);
        assert!((mean(Latency::LogNormal(50.0, 0.5)) - 56.7).abs() < 2.0);
    }

    #[test]
    fn same_seed_draws_same_sample() {
        let latency = Latency::Exponential(50.0);
        assert_eq!(
            latency.sample(&mut request_rng(1, 2)),
            latency.sample(&mut request_rng(1, 2))
        );
        assert_ne!(
            latency.sample(&mut request_rng(1, 2)),
            latency.sample(&mut request_rng(1, 3))
        );
    }
}
