//! The loop from outside: by tables, and by what holds for everything.

mod build;
mod history;
mod limits;
mod properties;
mod resume;
mod tables;
