//! The public API with real servers.

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod http;
#[cfg(test)]
mod stdio;
