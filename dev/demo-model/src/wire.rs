//! The Chat Completions protocol: what callers send and what they get back. Knows no HTTP and no behaviour.

mod request;
mod response;
mod usage;
mod validate;

pub use request::{ChatRequest, Content, FunctionCall, FunctionSpec, Message, StreamOptions, Tool, ToolCall};
pub(crate) use response::{CallDelta, Chunk, Delta, FunctionDelta, Head};
pub use response::{Completion, ErrorBody, FinishReason, Given, Reply};
pub use usage::Usage;
pub use validate::Invalid;
pub(crate) use validate::validate;
