//! Chromium and its driver, which the tests of the page need, and nothing else does.

use std::ffi::OsString;

use super::install::{install, may_apt};
use super::{Places, program};
use crate::error::{Error, Result};
use crate::owner::is_root;
use crate::say::tell;

/// Names Chromium, in place of a search.
const CHROMIUM_VARIABLE: &str = "ERRAND_TEST_CHROMIUM";

/// Names its driver, in place of a search.
const CHROMEDRIVER_VARIABLE: &str = "ERRAND_TEST_CHROMEDRIVER";

/// Debian's packages of both.
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Finds the browser, installing it when that is allowed and possible; gives what tells the tests where it is.
pub(crate) fn find_or_install_browser(
    places: &Places,
    may_install: bool,
) -> Result<Vec<(OsString, OsString)>> {
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    find_or_install_unless(named, places, may_install)
}

/// The same, unless `named` says where they are.
fn find_or_install_unless(
    named: impl Fn(&str) -> Option<OsString>,
    places: &Places,
    may_install: bool,
) -> Result<Vec<(OsString, OsString)>> {
    if let Some(found) = find(&named, places) {
        return Ok(found);
    }
    if may_install && may_apt(places) {
        tell("Chromium, for the tests of the page, is not installed. Installing it.");
        install(&PACKAGES)?;
    }
    find(&named, places).ok_or_else(|| Error::Missing(missing(places)))
}

fn find(named: impl Fn(&str) -> Option<OsString>, places: &Places) -> Option<Vec<(OsString, OsString)>> {
    let place = |variable: &str, name| {
        named(variable)
            .or_else(|| program(places, name).map(OsString::from))
            .map(|path| (OsString::from(variable), path))
    };
    Some(vec![
        place(CHROMIUM_VARIABLE, "chromium")?,
        place(CHROMEDRIVER_VARIABLE, "chromedriver")?,
    ])
}

fn missing(places: &Places) -> String {
    let packages = PACKAGES.join(" ");
    let sudo = if is_root() { "" } else { "sudo " };
    let how = if program(places, "apt-get").is_some() {
        format!(
            "Install and try again:\n  {sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}"
        )
    } else {
        "Install both and put them into PATH, then try again".to_owned()
    };
    format!(
        "Chromium and chromedriver, for the tests of the page, are not installed. {how}\n(The other tests do without:          name their packages, as in `cargo alltests -p errand-api`.)"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_browser_without_its_driver_is_no_browser_and_what_installs_both_is_said() {
        let scratch = Scratch::new(None).unwrap();
        let places = Places {
            postgres: None,
            redis: None,
            postgres_versions: Vec::new(),
            folders: vec![scratch.path().to_owned()],
        };
        for name in ["apt-get", "chromium"] {
            fs::write(scratch.path().join(name), "").unwrap();
        }
        let message = find_or_install_unless(|_| None, &places, false)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("--no-install-recommends chromium chromium-driver"),
            "{message}"
        );
        fs::write(scratch.path().join("chromedriver"), "").unwrap();
        let found = find_or_install_unless(|_| None, &places, false).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].1, scratch.path().join("chromedriver").into_os_string());
    }
}
