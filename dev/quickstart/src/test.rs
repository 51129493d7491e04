//! `test`: runs the tests of the workspace with private Postgres and Redis, and a browser for the end-to-end tests.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use errand_devstack::cargo::cargo;
use errand_devstack::packages::{Places, find_or_install, find_or_install_browser};
use errand_devstack::process::foreground::{self, exit_code};
use errand_devstack::process::signals::Signals;
use errand_devstack::services::{Services, Urls, env_of_programs};
use errand_devstack::{Error, Result, print};

use crate::cli::TestArgs;

type Env = Vec<(OsString, OsString)>;

/// The package whose tests need a browser.
const BROWSER_TESTS: &str = "errand-e2e";

/// Runs the subcommand.
pub(crate) async fn run(args: TestArgs) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    // Needed with existing services too: some tests start their own servers.
    let places = Places::of_this_machine();
    let found = find_or_install(&places, !args.no_install)?;
    let mut env = env_of_programs(&found);
    if needs_browser(&args.extra) {
        env.extend(find_or_install_browser(&places, !args.no_install)?);
    }
    if let Some(urls) = existing_services(&args)? {
        env.extend(urls.env());
        return run_tests(&args.extra, &env, &mut signals).await;
    }
    let mut services = signals.unless(Services::ephemeral(&found)).await?;
    env.extend(services.urls().env());
    let result = run_tests(&args.extra, &env, &mut signals).await;
    services.stop().await?;
    result
}

fn existing_services(args: &TestArgs) -> Result<Option<Urls>> {
    if !args.use_env {
        return Ok(args.external.urls());
    }
    let read = |name: &str| {
        let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
        value.ok_or_else(|| Error::Unusable(format!("--use-env requires {name}, which is not set")))
    };
    Ok(Some(Urls {
        database: read("DATABASE_URL")?,
        redis: read("REDIS_URL")?,
    }))
}

async fn run_tests(extra: &[OsString], env: &Env, signals: &mut Signals) -> Result<ExitCode> {
    let mut tests = cargo();
    let name = if has_nextest().await {
        tests.args(["nextest", "run"]);
        "cargo nextest run"
    } else {
        print::error_line("cargo-nextest is not installed. cargo test runs the same tests, but more slowly.");
        tests.args(["test", "--lib", "--bins", "--tests"]);
        "cargo test"
    };
    let are_all = !selects_packages(extra);
    if are_all {
        tests.arg("--workspace");
    }
    let status = foreground::run(name, tests.args(extra), env, signals).await?;
    if !are_all || !status.success() {
        return Ok(exit_code(status));
    }
    let mut doc_tests = cargo();
    doc_tests.args(["test", "--doc", "--workspace"]);
    let status = foreground::run("cargo test --doc", &mut doc_tests, env, signals).await?;
    Ok(exit_code(status))
}

/// Whether the extra arguments select packages, which `--workspace` would override.
fn selects_packages(extra: &[OsString]) -> bool {
    let selects = |arg: &str| arg.starts_with("-p") || arg.starts_with("--package");
    extra
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.to_str().is_some_and(selects))
}

/// Whether the end-to-end tests are selected.
fn needs_browser(extra: &[OsString]) -> bool {
    let names_package = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.contains(BROWSER_TESTS));
    !selects_packages(extra) || extra.iter().any(names_package)
}

async fn has_nextest() -> bool {
    let result = cargo()
        .args(["nextest", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    result.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    #[test]
    fn selected_packages_are_distinguished_from_test_filters() {
        assert!(selects_packages(&os(&["-p", "errand-api"])));
        assert!(selects_packages(&os(&["--package=errand-api"])));
        assert!(!selects_packages(&os(&["--no-fail-fast", "a_lease"])));
        assert!(!selects_packages(&os(&["--", "-p"])));
    }

    #[test]
    fn only_the_end_to_end_tests_need_a_browser() {
        assert!(needs_browser(&os(&[])));
        assert!(needs_browser(&os(&["-p", "errand-e2e"])));
        assert!(!needs_browser(&os(&["-p", "errand-api"])));
    }
}
