//! Installs the packages, where that is allowed: as root, or through a `sudo`
//! that asks no password.
//!
//! Debian's default cluster and service are not used and not touched.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::{Found, INSTALL, Places, find, program};
use crate::error::{Error, Result};
use crate::owner::is_root;
use crate::say::tell;

/// Finds the packages, installing them when that is allowed and possible.
pub(crate) fn find_or_install(places: &Places, may_install: bool) -> Result<Found> {
    let missing = match find(places) {
        Err(missing) if may_install => missing,
        found => return found,
    };
    if !may_apt(places) {
        return Err(missing);
    }
    tell(&format!(
        "Postgres or Redis is not installed. Installing both: {INSTALL}"
    ));
    tell("(Debian may start services of its own with them; Errand does not use those.)");
    install(&["postgresql", "redis-server"])?;
    find(places)
}

/// Whether packages can be installed without asking anybody.
pub(super) fn may_apt(places: &Places) -> bool {
    program(places, "apt-get").is_some() && (is_root() || succeeds("sudo", &["-n", "true"]))
}

/// Installs packages of Debian.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let prefix: &[&str] = if is_root() { &[] } else { &["sudo", "-n"] };
    apt(prefix, &["update"])?;
    apt(
        prefix,
        &[&["install", "-y", "--no-install-recommends"], packages].concat(),
    )
}

fn succeeds(name: &str, args: &[&str]) -> bool {
    Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn apt(prefix: &[&str], args: &[&str]) -> Result<()> {
    // `env` carries the setting through sudo, which clears the environment.
    let line: Vec<&str> = prefix
        .iter()
        .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .chain(args)
        .copied()
        .collect();
    let [name, rest @ ..] = line.as_slice() else {
        return Ok(());
    };
    let status = Command::new(OsStr::new(name))
        .args(rest)
        .stdin(Stdio::null())
        // Standard output may be meant for a shell.
        .stdout(std::io::stderr())
        .status()
        .map_err(Error::io(format!("run {}", line.join(" "))))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Missing(format!(
        "`{}` failed ({status}); what it wrote is above. Install by hand and try again:\n  {INSTALL}",
        line.join(" ")
    )))
}
