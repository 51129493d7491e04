//! Rates: token buckets of this process, keyed by user, address or account.

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};

use errand_shared::{Uuid, lifecycle::Lifecycle};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, clock::DefaultClock};

use crate::{error::ApiError, settings::ApiSettings};

/// How much callers may ask for.
#[derive(Debug)]
pub(crate) struct RateLimits {
    chat: Buckets<Uuid>,
    mcp: Buckets<Uuid>,
    auth_address: Buckets<IpAddr>,
    auth_account: Buckets<String>,
}

impl RateLimits {
    /// The limits of the settings.
    pub(crate) fn new(settings: &ApiSettings) -> Self {
        let auth = settings.auth.rate_limit_auth_per_minute;
        Self {
            chat: Buckets::per_minute(settings.chat.rate_limit_chat_per_minute),
            mcp: Buckets::per_minute(settings.mcp.rate_limit_mcp_per_minute),
            auth_address: Buckets::per_minute(auth),
            auth_account: Buckets::per_minute(auth.div_ceil(6)),
        }
    }

    /// One chat of a user.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn chat(&self, user_id: Uuid) -> Result<(), ApiError> {
        self.chat.take(&user_id, "Too many messages; slow down.")
    }

    /// One MCP request of a user.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn mcp(&self, user_id: Uuid) -> Result<(), ApiError> {
        self.mcp.take(&user_id, "Too many MCP requests; slow down.")
    }

    /// One attempt to log in or register, from an address for an account.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(crate) fn auth(&self, address: IpAddr, account: Option<&str>) -> Result<(), ApiError> {
        const DETAIL: &str = "Too many attempts; wait before the next.";
        self.auth_address.take(&address, DETAIL)?;
        match account {
            Some(account) => self.auth_account.take(&account.to_lowercase(), DETAIL),
            None => Ok(()),
        }
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
struct Buckets<K: Hash + Eq + Clone>(Option<DefaultKeyedRateLimiter<K>>);

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn per_minute(rate: u32) -> Self {
        Self(NonZeroU32::new(rate).map(|rate| RateLimiter::keyed(Quota::per_minute(rate))))
    }

    fn take(&self, key: &K, detail: &'static str) -> Result<(), ApiError> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        limiter.check_key(key).map_err(|not_until| ApiError::TooMany {
            detail,
            retry_after: not_until.wait_time_from(DefaultClock::default().now()) + Duration::from_secs(1),
        })
    }

    fn forget_idle(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}
