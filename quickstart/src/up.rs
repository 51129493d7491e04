//! stub
use crate::cli::UpArgs;
use crate::error::Result;
use std::process::ExitCode;
pub(crate) async fn run(_args: UpArgs) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
