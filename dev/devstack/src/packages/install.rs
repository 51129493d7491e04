//! Installs Debian packages, as root or through a `sudo` that asks for no password.
//!
//! The services that Debian starts with the packages are not used.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::{Found, INSTALL, Places, find, program};
use crate::error::{Error, Result};
use crate::files::owner::is_root;
use crate::print;

/// Finds Postgres and Redis and installs them if necessary, allowed and possible.
pub fn find_or_install(places: &Places, may_install: bool) -> Result<Found> {
    let missing = match find(places) {
        Err(missing) if may_install => missing,
        found => return found,
    };
    if !may_apt(places) {
        return Err(missing);
    }
    print::error_line(&format!(
        "Postgres or Redis is not installed. Installing both: {INSTALL}"
    ));
    print::error_line("(Debian may start its own services with them. Errand does not use those.)");
    install(&["postgresql", "redis-server"])?;
    find(places)
}

/// Whether packages can be installed without a password.
pub(super) fn may_apt(places: &Places) -> bool {
    program(places, "apt-get").is_some() && (is_root() || succeeds("sudo", &["-n", "true"]))
}

/// Runs `apt-get update` and `apt-get install`.
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
    // sudo clears the environment, so `env` sets the variable again.
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
        // A shell may evaluate our standard output.
        .stdout(std::io::stderr())
        .status()
        .map_err(Error::io(format!("run {}", line.join(" "))))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Missing(format!(
        "`{}` failed ({status}); its output is above. Install the packages and try again:\n  {INSTALL}",
        line.join(" ")
    )))
}
