//! `cargo quickstart` starts Errand on one machine with private Postgres and Redis, a first user and a first chat.
//! `cargo alltests` runs the tests with private services.
//!
//! How programs and services are started is in `errand-devstack`.

mod cli;
mod services;
mod stack;
mod test;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
