//! Calls cargo from a program that cargo itself may have started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::cli::BuildProfile;
use crate::error::{Error, Result};

/// The repository's folder: as `cargo run` says, else as it was at compile time.
pub fn repository() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.file_name().is_some_and(|name| name == "quickstart") && folder.is_dir());
    let here = here.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    here.parent()
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Cargo in the repository, without the variables of the package that runs,
/// which would make it compile things again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    let of_a_package = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ];
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| of_a_package.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
    // A build needs no database: the checked queries are in the repository.
    command.env("SQLX_OFFLINE", "true").current_dir(repository());
    command
}

/// Compiles the packages' programs for work on the code, with the given features
/// (`package/feature`), and gives their paths, in the given order.
pub async fn build_with_features(packages: &[&str], features: &[&str]) -> Result<Vec<PathBuf>> {
    build(packages, BuildProfile::Dev, features).await
}

/// Compiles the packages' programs as they are used, optimised, and gives their paths, in the given order.
pub async fn build_optimised(packages: &[&str]) -> Result<Vec<PathBuf>> {
    build(packages, BuildProfile::Release, &[]).await
}

/// Compiles the packages' programs and gives their paths, in the given order.
pub(crate) async fn build(
    packages: &[&str],
    profile: BuildProfile,
    features: &[&str],
) -> Result<Vec<PathBuf>> {
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
            .map_err(Error::io("read what cargo build says"))?
        {
            programs.extend(executable(&line));
        }
    }
    let status = child.wait().await.map_err(Error::io("run cargo build"))?;
    if !status.success() {
        return Err(Error::Helper {
            name: "cargo build".to_owned(),
            status,
            message: "what it said is above".to_owned(),
        });
    }
    let path_of = |name: &&str| {
        let found = programs
            .iter()
            .find(|path| path.file_stem().is_some_and(|stem| stem == *name));
        found
            .cloned()
            .ok_or_else(|| Error::Unusable(format!("cargo build made no program {name}")))
    };
    packages.iter().map(path_of).collect()
}

/// The program that one of cargo's messages tells of.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_taken_from_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","executable":"/t/release/errand-api"}"#;
        assert_eq!(executable(line), Some(PathBuf::from("/t/release/errand-api")));
        assert_eq!(
            executable(r#"{"reason":"compiler-artifact","executable":null}"#),
            None
        );
        assert_eq!(executable("not json"), None);
    }

    #[test]
    fn the_repository_is_the_workspace() {
        assert!(repository().join("dev/quickstart/Cargo.toml").is_file());
    }
}
