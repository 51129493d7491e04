//! Log files of the processes: rotation at each start, and the last lines for error messages.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{Error, Result};

/// How much of a log's end is read.
const TAIL_BYTES: u64 = 16 * 1024;

/// Renames the log of the last start to `name.log.1`, so that logs do not grow from start to start.
pub(crate) fn rotate(log: &Path) -> Result<()> {
    let mut rotated = log.as_os_str().to_owned();
    rotated.push(".1");
    match fs::rename(log, &rotated) {
        Ok(()) => Ok(()),
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(()),
        Err(fault) => Err(Error::path("rotate", log)(fault)),
    }
}

/// The last `lines` lines, indented.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let text = read_end(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if all.is_empty() {
        return "  (the log is empty)".to_owned();
    }
    let skipped = all.len().saturating_sub(lines);
    let last: Vec<String> = all.iter().skip(skipped).map(|line| format!("  {line}")).collect();
    last.join("\n")
}

fn read_end(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::temp_dir::TempDir;

    #[test]
    fn the_tail_is_the_last_lines_and_the_old_log_is_rotated() {
        let dir = TempDir::new(None).unwrap();
        let log = dir.path().join("api.log");
        assert!(tail(&log, 2).contains("empty"));
        fs::write(&log, "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(tail(&log, 2), "  two\n  three");
        rotate(&log).unwrap();
        assert!(!log.exists());
        assert_eq!(
            fs::read_to_string(dir.path().join("api.log.1")).unwrap(),
            "one\ntwo\n\nthree\n"
        );
        rotate(&log).unwrap();
    }
}
