//! The demo and simulated model server.
