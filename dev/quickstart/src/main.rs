//! The program of the quick start: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    errand_quickstart::cli::main()
}
