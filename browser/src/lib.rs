//! Nothing: the chat page's tests in a real browser stand in `tests/it`.
