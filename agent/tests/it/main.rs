//! Tests of the public API: tables of cases and properties.

mod build;
mod history;
mod limits;
mod properties;
mod resume;
mod tables;
