//! The rate limit that all workers share: model requests and tokens per minute.
//!
//! One script in Redis implements the generic cell rate algorithm (GCRA). It assigns each request a time slot, so that requests
//! wait in the order of their arrival instead of being rejected. While Redis is unavailable each worker enforces its share of the
//! limit by itself.

mod local;
mod rate;

use std::time::Duration;

use errand_shared::{
    service::metrics::{Counter, Gauge, Held, Histogram, observe},
    signals::redis_client::RedisClient,
};
use redis::{RedisError, Script};
use tokio::time::Instant;

use self::{
    local::Local,
    rate::{Rate, number},
};
use super::ModelError;
use crate::settings::ModelSettings;

/// Reserves a slot: advances the time at which each limit is next free by the cost of this request. Returns the time to wait in
/// microseconds, or -1 if it exceeds the longest wait; then nothing is reserved.
///
/// Keys: one per limit. Arguments: the longest wait, then for each limit the cost of the request and the burst, all in
/// microseconds.
const RESERVE: &str = r"
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

/// Moves a limit by the difference between the actual and the estimated cost of a request.
const CORRECT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + tonumber(ARGV[1])
if next > now then
    redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1000)
end
return 0
";

/// The metrics of all limits of this worker; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LimitMetrics {
    /// Requests that are waiting.
    pub(crate) waiting: Gauge,
    /// How long requests waited.
    pub(crate) wait: Histogram,
    /// Requests limited by this worker's own share.
    pub(crate) fallbacks: Counter,
}

/// A rate limit, shared through Redis.
pub(crate) struct ModelLimit {
    requests: Option<Rate>,
    tokens: Option<Rate>,
    redis: Option<RedisClient>,
    keys: [String; 2],
    reserve: Script,
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
    pub(crate) fn new(settings: &ModelSettings, redis: RedisClient, metrics: LimitMetrics) -> Self {
        Self {
            requests: Rate::per_minute(settings.model_requests_per_minute),
            tokens: Rate::per_minute(settings.model_tokens_per_minute),
            keys: [redis.limit_key("requests"), redis.limit_key("tokens")],
            redis: Some(redis),
            ..Self::unlimited(metrics)
        }
    }

    /// No limit, and no need of Redis.
    pub(crate) fn unlimited(metrics: LimitMetrics) -> Self {
        Self {
            requests: None,
            tokens: None,
            redis: None,
            keys: Default::default(),
            reserve: Script::new(RESERVE),
            correct: Script::new(CORRECT),
            local: Local::default(),
            metrics,
        }
    }

    /// Waits until a request of about `tokens` tokens may start. If the caller stops waiting, the slot is lost.
    ///
    /// # Errors
    /// [`ModelError::RunDeadline`] if the slot would be after `deadline`.
    pub(crate) async fn wait(&self, tokens: u64, deadline: Instant) -> Result<(), ModelError> {
        if self.requests.is_none() && self.tokens.is_none() {
            return Ok(());
        }
        let longest = deadline.saturating_duration_since(Instant::now());
        let wait = match self.reserve_slot(tokens, longest).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::debug!(%error, "Redis is unavailable; limiting model requests by this worker's share");
                self.metrics.fallbacks.inc();
                self.local
                    .reserve_slot(Instant::now(), self.requests, self.tokens, tokens, longest)
            }
        };
        let Some(wait) = wait else {
            return Err(ModelError::RunDeadline);
        };
        if !wait.is_zero() {
            let held = Held::new(&self.metrics.waiting);
            tokio::time::sleep(wait).await;
            drop(held);
            observe(&self.metrics.wait, wait);
        }
        Ok(())
    }

    /// Replaces the estimated tokens of a request by those it used.
    pub(crate) async fn correct(&self, estimated: u64, used: u64) {
        let (Some(rate), Some(redis)) = (self.tokens.filter(|_| estimated != used), &self.redis) else {
            return;
        };
        let difference = (number(used) - number(estimated)) * rate.cost;
        let [_, key] = &self.keys;
        let mut call = self.correct.prepare_invoke();
        call.key(key).arg(difference);
        let mut connection = redis.commands();
        let corrected: Result<i64, RedisError> = redis.with_timeout(call.invoke_async(&mut connection)).await;
        if let Err(error) = corrected {
            tracing::debug!(%error, "the tokens of a model request could not be corrected");
        }
    }

    /// Sets how many workers share the limit while Redis is unavailable.
    pub(crate) fn shared_by(&self, workers: u32) {
        self.local.shared_by(workers);
    }

    async fn reserve_slot(&self, tokens: u64, longest: Duration) -> Result<Option<Duration>, RedisError> {
        let Some(redis) = &self.redis else {
            return Ok(Some(Duration::ZERO));
        };
        let mut call = self.reserve.prepare_invoke();
        call.arg(longest.as_micros().to_string());
        let [requests, all_tokens] = &self.keys;
        if let Some(rate) = self.requests {
            call.key(requests).arg(rate.cost).arg(rate.burst);
        }
        if let Some(rate) = self.tokens {
            call.key(all_tokens)
                .arg(rate.cost * number(tokens))
                .arg(rate.burst);
        }
        let mut connection = redis.commands();
        let wait: i64 = redis.with_timeout(call.invoke_async(&mut connection)).await?;
        Ok(u64::try_from(wait).ok().map(Duration::from_micros))
    }
}
