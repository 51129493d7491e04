//! An empty library: the browser tests are in `tests/it`.
