//! Finds Chromium and its driver, which only the end-to-end tests need.

use std::ffi::OsString;

use super::install::{install, may_apt};
use super::{Places, program};
use crate::error::{Error, Result};
use crate::files::owner::is_root;
use crate::print;

/// The environment variable that names Chromium, instead of a search.
const CHROMIUM_VARIABLE: &str = "ERRAND_TEST_CHROMIUM";

/// The environment variable that names its driver, instead of a search.
const CHROMEDRIVER_VARIABLE: &str = "ERRAND_TEST_CHROMEDRIVER";

/// The Debian packages of both.
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Finds the browser and installs it if necessary, allowed and possible. Returns the variables that tests read.
pub fn find_or_install_browser(places: &Places, may_install: bool) -> Result<Vec<(OsString, OsString)>> {
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    find_or_install_with(named, places, may_install)
}

/// `named` returns the value of an environment variable.
fn find_or_install_with(
    named: impl Fn(&str) -> Option<OsString>,
    places: &Places,
    may_install: bool,
) -> Result<Vec<(OsString, OsString)>> {
    if let Some(found) = find(&named, places) {
        return Ok(found);
    }
    if may_install && may_apt(places) {
        print::error_line("Chromium, which the end-to-end tests need, is not installed. Installing it.");
        install(&PACKAGES)?;
    }
    find(&named, places).ok_or_else(|| Error::Missing(missing(places)))
}

fn find(named: impl Fn(&str) -> Option<OsString>, places: &Places) -> Option<Vec<(OsString, OsString)>> {
    let path = |variable: &str, name| {
        named(variable)
            .or_else(|| program(places, name).map(OsString::from))
            .map(|path| (OsString::from(variable), path))
    };
    Some(vec![
        path(CHROMIUM_VARIABLE, "chromium")?,
        path(CHROMEDRIVER_VARIABLE, "chromedriver")?,
    ])
}

fn missing(places: &Places) -> String {
    let packages = PACKAGES.join(" ");
    let sudo = if is_root() { "" } else { "sudo " };
    let how = if program(places, "apt-get").is_some() {
        format!(
            "Install both and try again:\n  {sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}"
        )
    } else {
        "Install both, add them to PATH and try again".to_owned()
    };
    format!(
        "Chromium and chromedriver, which the end-to-end tests need, are not installed. {how}\n(To run other tests, name \
         their packages: `cargo alltests -p errand-api`.)"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::temp_dir::TempDir;

    #[test]
    fn a_browser_without_its_driver_is_reported_with_the_command_that_installs_both() {
        let dir = TempDir::new(None).unwrap();
        let places = Places {
            postgres: None,
            redis: None,
            postgres_versions: Vec::new(),
            dirs: vec![dir.path().to_owned()],
        };
        for name in ["apt-get", "chromium"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let message = find_or_install_with(|_| None, &places, false)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("--no-install-recommends chromium chromium-driver"),
            "{message}"
        );
        fs::write(dir.path().join("chromedriver"), "").unwrap();
        let found = find_or_install_with(|_| None, &places, false).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].1, dir.path().join("chromedriver").into_os_string());
    }
}
