//! `test`: all tests of the workspace, with Postgres and Redis of their own, and a browser for the page's.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use crate::backing::{Backing, Urls, env_of_programs};
use crate::cargo::cargo;
use crate::cli::TestArgs;
use crate::error::{Error, Result};
use crate::packages::{Places, find_or_install, find_or_install_browser};
use crate::run_command::{self, exit_code};
use crate::say::tell;
use crate::signals::Signals;

type Env = Vec<(OsString, OsString)>;

/// The package whose tests need a browser.
const BROWSER_TESTS: &str = "errand-e2e";

/// Runs the subcommand.
pub(crate) async fn run(args: TestArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Also for tests on an outside database: some start servers of their own.
    let places = Places::of_this_machine();
    let found = find_or_install(&places, !args.no_install)?;
    let mut env = env_of_programs(&found);
    if needs_browser(&args.extra) {
        env.extend(find_or_install_browser(&places, !args.no_install)?);
    }
    if let Some(urls) = outside(&args)? {
        env.extend(urls.env());
        return run_tests(&args, &env, &mut signals).await;
    }
    let mut backing = signals.unless(Backing::ephemeral(&found)).await?;
    env.extend(backing.urls().env());
    let ended = run_tests(&args, &env, &mut signals).await;
    backing.stop().await?;
    ended
}

fn outside(args: &TestArgs) -> Result<Option<Urls>> {
    if !args.use_env {
        return Ok(Urls::outside(&args.outside));
    }
    let read = |name: &str| {
        let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
        value.ok_or_else(|| Error::Unusable(format!("--use-env was given, but {name} is not set")))
    };
    Ok(Some(Urls {
        database: read("DATABASE_URL")?,
        redis: read("REDIS_URL")?,
    }))
}

async fn run_tests(args: &TestArgs, env: &Env, signals: &mut Signals) -> Result<ExitCode> {
    let mut tests = cargo();
    let name = if has_nextest().await {
        tests.args(["nextest", "run"]);
        "cargo nextest run"
    } else {
        tell("cargo-nextest is not installed; cargo test runs the same tests, more slowly.");
        tests.args(["test", "--lib", "--bins", "--tests"]);
        "cargo test"
    };
    let narrowed = names_packages(&args.extra);
    if !narrowed {
        tests.arg("--workspace");
    }
    let status = run_command::run(name, tests.args(&args.extra), env, signals).await?;
    if narrowed || !status.success() {
        return Ok(exit_code(status));
    }
    let status = run_command::run(
        "cargo test --doc",
        cargo().args(["test", "--doc", "--workspace"]),
        env,
        signals,
    )
    .await?;
    Ok(exit_code(status))
}

/// Whether the extra arguments choose packages; `--workspace` would outvote them.
fn names_packages(extra: &[OsString]) -> bool {
    let chooses = |arg: &str| arg.starts_with("-p") || arg.starts_with("--package");
    extra
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.to_str().is_some_and(chooses))
}

/// Whether the tests of the page are among those that are asked for.
fn needs_browser(extra: &[OsString]) -> bool {
    let names_it = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.contains(BROWSER_TESTS));
    !names_packages(extra) || extra.iter().any(names_it)
}

async fn has_nextest() -> bool {
    let asked = cargo()
        .args(["nextest", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    asked.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_packages_are_told_from_test_filters() {
        let os = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(names_packages(&os(&["-p", "errand-api"])));
        assert!(names_packages(&os(&["--package=errand-api"])));
        assert!(!names_packages(&os(&["--no-fail-fast", "a_lease"])));
        assert!(!names_packages(&os(&["--", "-p"])));
    }

    #[test]
    fn a_browser_is_needed_only_for_the_tests_of_the_page() {
        let os = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(needs_browser(&os(&[])));
        assert!(needs_browser(&os(&["-p", "errand-e2e"])));
        assert!(!needs_browser(&os(&["-p", "errand-api"])));
    }
}
