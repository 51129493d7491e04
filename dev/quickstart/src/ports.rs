//! Ports on 127.0.0.1: which are free, and which were ours at the last start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::secret::{random_bytes, write_private};

/// Below the range that Linux hands to outgoing connections, so that nobody's
/// outgoing connection takes a port while its service restarts.
const PRIVATE: std::ops::Range<u16> = 15_000..32_000;

/// Whether a server could listen on this port now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Some free port.
pub fn any_free() -> Result<u16> {
    let mut raw = [0; 2];
    random_bytes(&mut raw)?;
    let width = PRIVATE.end - PRIVATE.start;
    let start = u16::from_ne_bytes(raw) % width;
    (0..width)
        .map(|step| PRIVATE.start + (start + step) % width)
        .find(|port| is_free(*port))
        .ok_or_else(|| Error::Unusable("no free port on 127.0.0.1".to_owned()))
}

/// The ports of one data folder, remembered from start to start.
#[derive(Debug)]
pub(crate) struct Ports {
    file: PathBuf,
    remembered: BTreeMap<String, u16>,
    given: BTreeSet<u16>,
}

impl Ports {
    /// Reads what was remembered; lines that make no sense are forgotten.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(fault) if fault.kind() == ErrorKind::NotFound => String::new(),
            Err(fault) => return Err(Error::path("read", file)(fault)),
        };
        let remembered = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter_map(|(name, port)| Some((name.to_owned(), port.parse().ok()?)))
            .collect();
        Ok(Self {
            file: file.to_owned(),
            remembered,
            given: BTreeSet::new(),
        })
    }

    /// The port that `name` had last time if it is still free, else `preferred`
    /// or the next free one after it (`None`: any free one).
    pub(crate) fn pick(&mut self, name: &str, preferred: Option<u16>) -> Result<u16> {
        let usable = |port: &u16| !self.given.contains(port) && is_free(*port);
        let kept = self.remembered.get(name).copied().filter(usable);
        let port = match (kept, preferred) {
            (Some(port), _) => port,
            (None, Some(first)) => (first..first.saturating_add(200))
                .find(usable)
                .map_or_else(any_free, Ok)?,
            (None, None) => any_free()?,
        };
        self.given.insert(port);
        if self.remembered.insert(name.to_owned(), port) != Some(port) {
            let lines: Vec<String> = self
                .remembered
                .iter()
                .map(|(name, port)| format!("{name}={port}"))
                .collect();
            write_private(
                &self.file,
                &(lines.join(
                    "
",
                ) + "
"),
            )?;
        }
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_port_is_remembered_and_another_is_picked_while_it_is_taken() {
        let scratch = Scratch::new(None).unwrap();
        let file = scratch.path().join("ports");
        let first = Ports::open(&file).unwrap().pick("api", None).unwrap();
        assert_eq!(Ports::open(&file).unwrap().pick("api", Some(1)).unwrap(), first);

        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert!(!is_free(first));
        let second = Ports::open(&file).unwrap().pick("api", Some(first)).unwrap();
        assert!(second > first);
        drop(taken);
        assert_eq!(Ports::open(&file).unwrap().pick("api", None).unwrap(), second);
    }

    #[test]
    fn one_port_is_never_given_twice() {
        let scratch = Scratch::new(None).unwrap();
        let mut ports = Ports::open(&scratch.path().join("ports")).unwrap();
        let first = ports.pick("one", None).unwrap();
        assert_ne!(ports.pick("two", Some(first)).unwrap(), first);
    }
}
