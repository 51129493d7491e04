//! Authentication: issues and verifies tokens, caches users, and extracts the caller from a request.
//!
//! Passwords and refresh tokens are only used below `/auth`. Every other request carries an access token.

mod authenticator;
mod client_addr;
mod extract;
#[cfg(test)]
mod fixtures;
mod identity;
mod keys;
pub(crate) mod passwords;
pub(crate) mod refresh;
pub(crate) mod session;
mod tokens;
mod user_cache;
pub(crate) mod validation;

pub(crate) use self::{
    authenticator::Authenticator,
    client_addr::Client,
    extract::{Admin, Caller, OwnTokens, PROTOCOL, SocketCaller},
    identity::Identity,
    session::SessionState,
};
