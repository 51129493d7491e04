//! Length limits of user input, in Unicode characters. The API checks them and the schema enforces them.

/// The maximum length of a chat message.
pub const MESSAGE_MAX_CHARS: usize = 2000;
/// The maximum length of a conversation title.
pub const TITLE_MAX_CHARS: usize = 255;
/// The maximum length of an idempotency key.
pub const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;
