//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): what a caller may still ask for.
//!
//! The limits that a request has met are remembered for its time, so that whoever meets one need not pass it on to the answer.

use std::cell::RefCell;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use futures::FutureExt;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

tokio::task_local! {
    static MET: RefCell<Vec<Allowance>>;
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// The limit's name.
    pub(super) name: &'static str,
    /// How many a minute.
    pub(super) per_minute: u32,
    /// How many more at once.
    pub(super) left: u32,
    /// Seconds until all are back; of a request that was refused, until the next one.
    pub(super) seconds: u64,
}

/// Remembers a limit that the request under way has met. Without one, as on a WebSocket, there is nobody to tell.
pub(super) fn met(allowance: Allowance) {
    if MET.try_with(|met| met.borrow_mut().push(allowance)).is_err() {
        tracing::trace!("a limit was met outside a request");
    }
}

/// Tells on the answer of the limits that the request has met.
pub(crate) fn tell(answering: impl Future<Output = Response>) -> impl Future<Output = Response> {
    let told = answering.map(|mut response| {
        MET.with(|met| write(response.headers_mut(), &met.borrow()));
        response
    });
    MET.scope(RefCell::default(), told)
}

fn write(headers: &mut HeaderMap, met: &[Allowance]) {
    if met.is_empty() {
        return;
    }
    let list = |one: fn(&Allowance) -> String| {
        let all: Vec<_> = met.iter().map(one).collect();
        HeaderValue::try_from(all.join(", "))
    };
    let policies = list(|met| format!("\"{}\";q={};w=60", met.name, met.per_minute));
    let limits = list(|met| format!("\"{}\";r={};t={}", met.name, met.left, met.seconds));
    if let (Ok(policies), Ok(limits)) = (policies, limits) {
        headers.insert(POLICY, policies);
        headers.insert(LIMIT, limits);
    }
}
