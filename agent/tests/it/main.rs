//! Tests of the public API: tables of cases and properties.

mod build;
mod empty;
mod history;
mod limits;
mod properties;
mod resume;
mod shorten;
mod tables;
