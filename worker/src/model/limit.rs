//! The limit on what all workers together may ask of the model: requests and tokens a minute.
//!
//! One script in Redis hands out places in time (GCRA), so that calls wait for theirs instead of being refused, in the order
//! in which they came and at no cost while they wait. Without Redis each worker goes on with its share of the limit.

mod local;

use std::time::Duration;

use errand_shared::{
    service::metrics::{Counter, Gauge, Held, Histogram, observe},
    signals::redis_client::RedisClient,
};
use redis::{RedisError, Script};
use tokio::time::Instant;

use self::local::Local;
use super::ModelFault;
use crate::settings::ModelSettings;

/// Takes a place: of each limit the time at which the next one is free moves on by what this call takes. Gives how long to
/// wait, in microseconds, or -1 if that is longer than the caller can; then nothing is taken.
///
/// Keys: a limit each. Arguments: the longest wait, then of each limit what the call takes and how much may be taken at
/// once, as times in microseconds.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local longest = tonumber(ARGV[1])
local wait, next = 0, {}
for i, key in ipairs(KEYS) do
    local free = math.max(tonumber(redis.call('GET', key) or '0'), now)
    wait = math.max(wait, free - tonumber(ARGV[2 * i + 1]) - now)
    next[i] = free + tonumber(ARGV[2 * i])
end
if wait > longest then
    return -1
end
for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', next[i]), 'PX', math.ceil((next[i] - now) / 1000) + 1000)
end
return wait
";

/// Moves a limit by what a call has taken more, or less, than was thought.
const CORRECT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + tonumber(ARGV[1])
if next > now then
    redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
end
return 0
";

/// How many calls of the same minute may come at once: a tenth of them. The others are spread over the minute, so that no minute
/// sees more than the limit.
const AT_ONCE: f64 = 0.1;
const MICROS_A_MINUTE: f64 = 60_000_000.0;

/// A limit a minute, in times.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// What one takes, in microseconds.
    each: f64,
    /// How much may be taken at once, in microseconds.
    at_once: f64,
}

impl Rate {
    /// None if there is no limit.
    fn per_minute(limit: u32) -> Option<Self> {
        if limit == 0 {
            return None;
        }
        let limit = f64::from(limit);
        let at_once = (limit * AT_ONCE).max(1.0);
        let each = MICROS_A_MINUTE / (limit - at_once).max(1.0);
        // The call itself is one of those at once.
        Some(Self {
            each,
            at_once: each * (at_once - 1.0),
        })
    }
}

/// What operators see of it; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LimitMetrics {
    /// Calls that wait.
    pub(crate) waiting: Gauge,
    /// How long they have waited.
    pub(crate) wait: Histogram,
    /// Calls let through by this worker's share.
    pub(crate) fallbacks: Counter,
}

/// The limit.
pub(crate) struct ModelLimit {
    requests: Option<Rate>,
    tokens: Option<Rate>,
    redis: RedisClient,
    keys: [String; 2],
    take: Script,
    correct: Script,
    local: Local,
    metrics: LimitMetrics,
}

impl std::fmt::Debug for ModelLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelLimit")
            .field("requests", &self.requests)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl ModelLimit {
    /// The limits of the settings.
    pub(crate) fn new(settings: &ModelSettings, redis: RedisClient, metrics: LimitMetrics) -> Self {
        Self {
            requests: Rate::per_minute(settings.model_requests_per_minute),
            tokens: Rate::per_minute(settings.model_tokens_per_minute),
            keys: [redis.limit_key("requests"), redis.limit_key("tokens")],
            redis,
            take: Script::new(TAKE),
            correct: Script::new(CORRECT),
            local: Local::default(),
            metrics,
        }
    }

    /// Waits until a call may be made that will take about so many tokens. The place is lost if the wait is given up.
    ///
    /// # Errors
    /// [`ModelFault::RunDeadline`] if its turn would come after the deadline.
    pub(crate) async fn wait(&self, tokens: u64, deadline: Instant) -> Result<(), ModelFault> {
        if self.requests.is_none() && self.tokens.is_none() {
            return Ok(());
        }
        let longest = deadline.saturating_duration_since(Instant::now());
        let wait = match self.place(tokens, longest).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::debug!(%error, "Redis keeps no limit; this worker goes on with its share");
                self.metrics.fallbacks.inc();
                self.local
                    .place(Instant::now(), self.requests, self.tokens, tokens, longest)
            }
        };
        let Some(wait) = wait else {
            return Err(ModelFault::RunDeadline);
        };
        if !wait.is_zero() {
            let held = Held::new(&self.metrics.waiting);
            tokio::time::sleep(wait).await;
            drop(held);
            observe(&self.metrics.wait, wait);
        }
        Ok(())
    }

    /// Corrects what a call has taken, once that is known.
    pub(crate) async fn correct(&self, thought: u64, taken: u64) {
        let Some(rate) = self.tokens.filter(|_| thought != taken) else {
            return;
        };
        let difference = (number(taken) - number(thought)) * rate.each;
        let [_, key] = &self.keys;
        let mut call = self.correct.prepare_invoke();
        call.key(key).arg(difference);
        let mut connection = self.redis.commands();
        let corrected: Result<i64, RedisError> =
            self.redis.with_timeout(call.invoke_async(&mut connection)).await;
        if let Err(error) = corrected {
            tracing::debug!(%error, "a call's tokens are not counted");
        }
    }

    /// How many workers share the limit while Redis keeps none.
    pub(crate) fn shared_by(&self, workers: u32) {
        self.local.shared_by(workers);
    }

    async fn place(&self, tokens: u64, longest: Duration) -> Result<Option<Duration>, RedisError> {
        let mut call = self.take.prepare_invoke();
        call.arg(longest.as_micros().to_string());
        let [requests, all_tokens] = &self.keys;
        if let Some(rate) = self.requests {
            call.key(requests).arg(rate.each).arg(rate.at_once);
        }
        if let Some(rate) = self.tokens {
            call.key(all_tokens)
                .arg(rate.each * number(tokens))
                .arg(rate.at_once);
        }
        let mut connection = self.redis.commands();
        let wait: i64 = self
            .redis
            .with_timeout(call.invoke_async(&mut connection))
            .await?;
        Ok(u64::try_from(wait).ok().map(Duration::from_micros))
    }
}

/// Far above any number of tokens that is one.
const MOST: u64 = 1_000_000_000;

fn number(tokens: u64) -> f64 {
    u32::try_from(tokens.min(MOST)).map_or(0.0, f64::from)
}
