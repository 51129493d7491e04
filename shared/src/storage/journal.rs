//! The journal of a run: its steps, the calls recorded before they are made, and the user's approvals.

pub mod approvals;
pub mod pending_calls;
pub mod steps;
