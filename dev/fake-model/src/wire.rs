//! The Chat Completions protocol: requests, their validation, and responses. Independent of HTTP and of behaviours.

mod request;
mod response;
mod usage;
mod validate;

pub use request::{ChatRequest, Content, FunctionCall, FunctionSpec, Message, StreamOptions, Tool, ToolCall};
pub(crate) use response::{CallDelta, Chunk, Completion, Delta, Envelope, ErrorBody, FunctionDelta};
pub use response::{FinishReason, Reply};
pub use usage::Usage;
pub use validate::InvalidRequest;
pub(crate) use validate::validate;
