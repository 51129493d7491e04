//! What the API and the worker must agree on: domain rows, all SQL, the bell, run events, settings and process plumbing.
//!
//! It knows no HTTP framework, no model and no tool loop.

pub mod db;
