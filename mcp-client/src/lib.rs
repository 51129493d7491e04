//! An MCP client: makes the tools of external MCP servers available to the agent.
//!
//! [`Servers`] connects to the configured servers and reconnects when necessary. [`Listing`] contains a server's tools under
//! unique names. Each call has exactly one [`Outcome`], which states honestly whether the call may have taken effect.
//!
//! This crate knows no run, journal or model. It doesn't trust servers: everything they send is bounded, cleaned and
//! validated before use, and no server can disturb the worker.

mod address;
mod call;
mod connection;
mod dialect;
mod http;
mod listing;
mod metrics;
mod name;
mod outcome;
mod process;
mod schema;
mod server;
mod servers;
mod session_client;
mod text;
mod tool;
mod tool_page;
mod upkeep;

pub use call::ReadyCall;
pub use listing::Listing;
pub use metrics::McpMetrics;
pub use name::{public as public_name, server_of};
pub use outcome::Outcome;
pub use server::Server;
pub use servers::Servers;
pub use tool::Tool;
