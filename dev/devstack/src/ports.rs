//! Free ports on 127.0.0.1, and the ports that a data directory used before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::secret::{random_bytes, write_private};

/// Below the range of Linux's ephemeral ports, so that no outgoing connection takes a port while its service restarts.
const PRIVATE: std::ops::Range<u16> = 15_000..32_000;

/// Whether a server can listen on this port now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A random free port.
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

/// The ports of one data directory, remembered from start to start.
#[derive(Debug)]
pub struct Ports {
    file: PathBuf,
    remembered: BTreeMap<String, u16>,
    assigned: BTreeSet<u16>,
}

impl Ports {
    /// Reads the remembered ports. Malformed lines are ignored.
    pub fn open(file: &Path) -> Result<Self> {
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
            assigned: BTreeSet::new(),
        })
    }

    /// The port that `name` had last time if it is free, else the first free port from `preferred` on (`None`: any free
    /// port).
    pub fn pick(&mut self, name: &str, preferred: Option<u16>) -> Result<u16> {
        let usable = |port: &u16| !self.assigned.contains(port) && is_free(*port);
        let kept = self.remembered.get(name).copied().filter(usable);
        let port = match (kept, preferred) {
            (Some(port), _) => port,
            (None, Some(first)) => (first..first.saturating_add(200))
                .find(usable)
                .map_or_else(any_free, Ok)?,
            (None, None) => any_free()?,
        };
        self.assigned.insert(port);
        if self.remembered.insert(name.to_owned(), port) != Some(port) {
            let lines: Vec<String> = self
                .remembered
                .iter()
                .map(|(name, port)| format!("{name}={port}"))
                .collect();
            write_private(&self.file, &(lines.join("\n") + "\n"))?;
        }
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::temp_dir::TempDir;

    #[test]
    fn a_port_is_remembered_and_replaced_while_it_is_taken() {
        let dir = TempDir::new(None).unwrap();
        let file = dir.path().join("ports");
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
    fn no_port_is_assigned_twice() {
        let dir = TempDir::new(None).unwrap();
        let mut ports = Ports::open(&dir.path().join("ports")).unwrap();
        let first = ports.pick("one", None).unwrap();
        assert_ne!(ports.pick("two", Some(first)).unwrap(), first);
    }
}
