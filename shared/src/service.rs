//! The plumbing of a process: settings, logs, traces, metrics, threads, start and stop.

pub mod config;
pub mod failpoints;
pub mod lifecycle;
pub mod metrics;
pub mod open_files;
pub mod runtime;
pub mod telemetry;
pub mod traces;
