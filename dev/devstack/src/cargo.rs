//! Runs cargo from a program that cargo itself may have started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::error::{Error, Result};

/// How programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildProfile {
    /// Optimized: slow to compile, fast to run.
    Release,
    /// Unoptimized, for development.
    Dev,
}

/// The root of the repository: the clone that `cargo run` was called in, else the one this crate was compiled in.
pub fn repository() -> PathBuf {
    let root = |package: &Path| Some(package.parent()?.parent()?.to_owned());
    let running = std::env::var_os("CARGO_MANIFEST_DIR").and_then(|package| root(Path::new(&package)));
    running
        .filter(|root| root.join("dev/devstack/Cargo.toml").is_file())
        .or_else(|| root(Path::new(env!("CARGO_MANIFEST_DIR"))))
        .unwrap_or_else(|| PathBuf::from("."))
}

/// Cargo in the repository. The variables that cargo has set for the running package are removed, because they would
/// make cargo compile packages again.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    let package_variables = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ];
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| package_variables.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    // A build needs no database: the checked queries are in the repository.
    command.env("SQLX_OFFLINE", "true").current_dir(repository());
    command
}

/// Compiles the programs of packages, with features given as `package/feature`. Returns the programs' paths in the order
/// of the packages.
pub async fn build(packages: &[&str], profile: BuildProfile, features: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics"]);
    if profile == BuildProfile::Release {
        command.arg("--release");
    }
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    for package in packages {
        command.args(["--package", package]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::io("run cargo build"))?;
    let mut programs = Vec::new();
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines
            .next_line()
            .await
            .map_err(Error::io("read the output of cargo build"))?
        {
            programs.extend(executable(&line));
        }
    }
    let status = child.wait().await.map_err(Error::io("run cargo build"))?;
    if !status.success() {
        return Err(Error::CommandFailed {
            name: "cargo build".to_owned(),
            status,
            message: "its output is above".to_owned(),
        });
    }
    let path_of = |name: &&str| {
        let found = programs
            .iter()
            .find(|path| path.file_stem().is_some_and(|stem| stem == *name));
        found
            .cloned()
            .ok_or_else(|| Error::Unusable(format!("cargo build produced no program {name}")))
    };
    packages.iter().map(path_of).collect()
}

/// The path of the program that a message of cargo announces.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_paths_are_read_from_cargo_messages() {
        let line = r#"{"reason":"compiler-artifact","executable":"/t/release/errand-api"}"#;
        assert_eq!(executable(line), Some(PathBuf::from("/t/release/errand-api")));
        assert_eq!(
            executable(r#"{"reason":"compiler-artifact","executable":null}"#),
            None
        );
        assert_eq!(executable("not json"), None);
    }

    #[test]
    fn repository_is_the_workspace_root() {
        assert!(repository().join("dev/devstack/Cargo.toml").is_file());
    }
}
