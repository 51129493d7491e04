//! Nothing: the tests of the chat page in a real browser stand in `tests/it`.
