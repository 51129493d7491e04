//! The HTTP API of Errand.
