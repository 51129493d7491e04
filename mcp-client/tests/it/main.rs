//! The servers from outside.

#[cfg(test)]
mod stdio;
