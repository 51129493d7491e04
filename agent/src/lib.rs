//! The agent's decisions, without IO.
