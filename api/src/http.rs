//! HTTP: routers, listeners, extractors and error responses.

pub(crate) mod cursor;
pub(crate) mod database;
pub(crate) mod error;
pub(crate) mod extract;
mod lingering;
pub(crate) mod listener;
pub(crate) mod openapi;
pub(crate) mod origin;
pub(crate) mod query;
pub(crate) mod rate_limits;
pub(crate) mod request_id;
pub(crate) mod router;
pub(crate) mod wait_preference;
