//! The public API with real servers.

#[cfg(test)]
mod stdio;
