//! How a run can fail by what the model did. Faults of network and database are the shell's.

use thiserror::Error;

/// Why the loop gave up. Its text is for the person who asked, and ends the sentence "Agent execution failed: …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AgentFailure {
    /// The model kept asking for tools beyond the bounds of a run.
    #[error("the tool-loop limit was reached before there was an answer; asking for less at once may help")]
    ToolLoopLimit,
    /// The provider's content filter held the answer back.
    #[error("the model provider's content filter held the answer back")]
    ContentFilter,
    /// The model said nothing and asked for nothing.
    #[error("the model gave an empty answer")]
    EmptyAnswer,
    /// The model used up its tokens before it said anything.
    #[error("the model reached its length limit before it said anything")]
    NoRoomToAnswer,
}
