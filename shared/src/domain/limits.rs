//! The bounds of a person's input that both the store and the edges hold.

/// Characters of a chat message, at most.
pub const MESSAGE_MAX_CHARS: usize = 2000;
/// Characters of a conversation's title, at most.
pub const TITLE_MAX_CHARS: usize = 255;
/// Characters of an idempotency key, at most.
pub const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;
