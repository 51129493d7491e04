//! Rate limits: token buckets in this process, by user, address or account, and the response headers that report them.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers. The limits that a request was checked
//! against are kept in a task-local variable, so that handlers need not pass them to the response.

use std::{cell::RefCell, hash::Hash, net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use errand_shared::{
    Uuid,
    service::{
        lifecycle::Lifecycle,
        metrics::{By, Counter},
    },
};
use futures::FutureExt;
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, clock::DefaultClock,
    middleware::StateInformationMiddleware,
};

use super::error::ApiError;
use crate::{metrics::Limit, settings::ApiSettings};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

tokio::task_local! {
    /// The limits that the current request was checked against.
    static CHECKED: RefCell<Vec<Allowance>>;
}

/// All rate limits of this process.
#[derive(Debug)]
pub(crate) struct RateLimits {
    chat: Buckets<Uuid>,
    mcp: Buckets<Uuid>,
    auth_address: Buckets<IpAddr>,
    auth_account: Buckets<String>,
    rejected: By<Limit, Counter>,
}

impl RateLimits {
    /// Rejected requests are counted in `rejected`.
    pub(crate) fn new(settings: &ApiSettings, rejected: By<Limit, Counter>) -> Self {
        let auth = settings.auth.rate_limit_auth_per_minute;
        Self {
            chat: Buckets::per_minute("chat", settings.chat.rate_limit_chat_per_minute),
            mcp: Buckets::per_minute("mcp", settings.mcp.rate_limit_mcp_per_minute),
            auth_address: Buckets::per_minute("auth-address", auth),
            auth_account: Buckets::per_minute("auth-account", auth.div_ceil(6)),
            rejected,
        }
    }

    /// Counts a message of a user.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn chat(&self, user_id: Uuid) -> Result<(), ApiError> {
        let checked = self.chat.check(&user_id, "Too many messages; slow down.");
        self.count(Limit::Chat, checked)
    }

    /// Counts an MCP request of a user.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn mcp(&self, user_id: Uuid) -> Result<(), ApiError> {
        let checked = self.mcp.check(&user_id, "Too many MCP requests; slow down.");
        self.count(Limit::Mcp, checked)
    }

    /// Counts an attempt to log in or register.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn auth(&self, address: IpAddr, account: Option<&str>) -> Result<(), ApiError> {
        const DETAIL: &str = "Too many attempts; wait before the next one.";
        self.count(Limit::AuthAddress, self.auth_address.check(&address, DETAIL))?;
        match account {
            Some(account) => {
                let checked = self.auth_account.check(&account.to_lowercase(), DETAIL);
                self.count(Limit::AuthAccount, checked)
            }
            None => Ok(()),
        }
    }

    fn count(&self, limit: Limit, checked: Result<(), ApiError>) -> Result<(), ApiError> {
        if checked.is_err() {
            self.rejected.of(limit).inc();
        }
        checked
    }

    /// Frees the buckets of idle callers every minute until the process shuts down.
    pub(crate) async fn free_idle_buckets(self: Arc<Self>, lifecycle: Lifecycle) {
        let mut minutes = tokio::time::interval(Duration::from_mins(1));
        loop {
            tokio::select! {
                _ = minutes.tick() => {}
                () = lifecycle.stopped() => return,
            }
            self.chat.free_idle();
            self.mcp.free_idle();
            self.auth_address.free_idle();
            self.auth_account.free_idle();
        }
    }
}

/// One token bucket per key. There is no limiter if the limit is 0, which means unlimited.
#[derive(Debug)]
struct Buckets<K: Hash + Eq + Clone> {
    name: &'static str,
    per_minute: u32,
    limiter: Option<DefaultKeyedRateLimiter<K, StateInformationMiddleware>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn per_minute(name: &'static str, rate: u32) -> Self {
        let limiter = NonZeroU32::new(rate).map(|rate| {
            RateLimiter::keyed(Quota::per_minute(rate)).with_middleware::<StateInformationMiddleware>()
        });
        Self {
            name,
            per_minute: rate,
            limiter,
        }
    }

    fn check(&self, key: &K, detail: &'static str) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let allowance = |remaining: u32, reset_seconds| Allowance {
            name: self.name,
            per_minute: self.per_minute,
            remaining,
            reset_seconds,
        };
        match limiter.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = u64::from(self.per_minute.saturating_sub(remaining));
                let seconds = (used * 60).div_ceil(u64::from(self.per_minute.max(1)));
                allowance(remaining, seconds).record();
                Ok(())
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now()) + Duration::from_secs(1);
                allowance(0, wait.as_secs()).record();
                Err(ApiError::TooMany {
                    detail,
                    retry_after: wait,
                })
            }
        }
    }

    fn free_idle(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// What remains of a limit.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    name: &'static str,
    per_minute: u32,
    remaining: u32,
    /// Seconds until the bucket is full or, for a rejected request, until the next request is allowed.
    reset_seconds: u64,
}

impl Allowance {
    /// Records it for the headers of the current request. A WebSocket has no current request.
    fn record(self) {
        if CHECKED
            .try_with(|checked| checked.borrow_mut().push(self))
            .is_err()
        {
            tracing::trace!("rate limit checked outside a request");
        }
    }
}

/// Adds the rate limit headers to a response.
pub(crate) fn add_headers(response: impl Future<Output = Response>) -> impl Future<Output = Response> {
    let with_headers = response.map(|mut response| {
        CHECKED.with(|checked| write(response.headers_mut(), &checked.borrow()));
        response
    });
    CHECKED.scope(RefCell::default(), with_headers)
}

fn write(headers: &mut HeaderMap, checked: &[Allowance]) {
    if checked.is_empty() {
        return;
    }
    let list = |item: fn(&Allowance) -> String| {
        let items: Vec<_> = checked.iter().map(item).collect();
        HeaderValue::try_from(items.join(", "))
    };
    let policies = list(|limit| format!("\"{}\";q={};w=60", limit.name, limit.per_minute));
    let limits = list(|limit| {
        format!(
            "\"{}\";r={};t={}",
            limit.name, limit.remaining, limit.reset_seconds
        )
    });
    if let (Ok(policies), Ok(limits)) = (policies, limits) {
        headers.insert(RATELIMIT_POLICY, policies);
        headers.insert(RATELIMIT, limits);
    }
}
