//! Other people's MCP servers, as tools for the agent: connections that keep themselves, tools under names of our own,
//! calls with one honest outcome each.
//!
//! Nothing here knows a run, a journal or a model. What a server says is somebody else's word: it is bounded, cleaned and
//! checked before anybody sees it, and whatever a server does, the worker goes on.

mod address;
mod call;
mod connection;
mod http;
mod listing;
mod metrics;
mod name;
mod outcome;
mod process;
mod schema;
mod server;
mod servers;
mod text;
mod tool;

pub use call::ReadyCall;
pub use listing::Listing;
pub use metrics::McpMetrics;
pub use name::{public as public_name, server_of};
pub use outcome::Outcome;
pub use server::Server;
pub use servers::Servers;
pub use tool::Tool;
