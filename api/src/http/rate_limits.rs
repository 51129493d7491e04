//! Rates: token buckets of this process, keyed by user, address or account.

mod headers;

pub(crate) use headers::tell;

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};

use errand_shared::{
    Uuid,
    service::{
        lifecycle::Lifecycle,
        metrics::{By, Counter},
    },
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, clock::DefaultClock,
    middleware::StateInformationMiddleware,
};

use self::headers::Allowance;
use crate::{http::error::ApiError, metrics::Limit, settings::ApiSettings};

/// How much callers may ask for.
#[derive(Debug)]
pub(crate) struct RateLimits {
    chat: Buckets<Uuid>,
    mcp: Buckets<Uuid>,
    auth_address: Buckets<IpAddr>,
    auth_account: Buckets<String>,
    limited: By<Limit, Counter>,
}

impl RateLimits {
    /// The limits of the settings, which count whom they refuse.
    pub(crate) fn new(settings: &ApiSettings, limited: By<Limit, Counter>) -> Self {
        let auth = settings.auth.rate_limit_auth_per_minute;
        Self {
            chat: Buckets::per_minute("chat", settings.chat.rate_limit_chat_per_minute),
            mcp: Buckets::per_minute("mcp", settings.mcp.rate_limit_mcp_per_minute),
            auth_address: Buckets::per_minute("auth-address", auth),
            auth_account: Buckets::per_minute("auth-account", auth.div_ceil(6)),
            limited,
        }
    }

    /// One chat of a user.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn chat(&self, user_id: Uuid) -> Result<(), ApiError> {
        let taken = self.chat.take(&user_id, "Too many messages; slow down.");
        self.counted(Limit::Chat, taken)
    }

    /// One MCP request of a user.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn mcp(&self, user_id: Uuid) -> Result<(), ApiError> {
        let taken = self.mcp.take(&user_id, "Too many MCP requests; slow down.");
        self.counted(Limit::Mcp, taken)
    }

    /// One attempt to log in or register, from an address for an account.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn auth(&self, address: IpAddr, account: Option<&str>) -> Result<(), ApiError> {
        const DETAIL: &str = "Too many attempts; wait before the next.";
        self.counted(Limit::AuthAddress, self.auth_address.take(&address, DETAIL))?;
        match account {
            Some(account) => {
                let taken = self.auth_account.take(&account.to_lowercase(), DETAIL);
                self.counted(Limit::AuthAccount, taken)
            }
            None => Ok(()),
        }
    }

    fn counted(&self, limit: Limit, taken: Result<(), ApiError>) -> Result<(), ApiError> {
        if taken.is_err() {
            self.limited.of(limit).inc();
        }
        taken
    }

    /// Forgets callers that have not come for long, for ever.
    pub(crate) async fn forget_idle(app: crate::state::App, lifecycle: Lifecycle) {
        let mut minutes = tokio::time::interval(Duration::from_mins(1));
        loop {
            tokio::select! {
                _ = minutes.tick() => {}
                () = lifecycle.stopped() => return,
            }
            app.rates.chat.forget_idle();
            app.rates.mcp.forget_idle();
            app.rates.auth_address.forget_idle();
            app.rates.auth_account.forget_idle();
        }
    }
}

/// Buckets that fill at a rate a minute; none if there is no bound.
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

    fn take(&self, key: &K, detail: &'static str) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let allowance = |left: u32, seconds| Allowance {
            name: self.name,
            per_minute: self.per_minute,
            left,
            seconds,
        };
        match limiter.check_key(key) {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let used = u64::from(self.per_minute.saturating_sub(left));
                let seconds = (used * 60).div_ceil(u64::from(self.per_minute.max(1)));
                headers::met(allowance(left, seconds));
                Ok(())
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now()) + Duration::from_secs(1);
                headers::met(allowance(0, wait.as_secs()));
                Err(ApiError::TooMany {
                    detail,
                    retry_after: wait,
                })
            }
        }
    }

    fn forget_idle(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}
