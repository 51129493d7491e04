//! Measures how long the disk takes to flush, with `pg_test_fsync` and the method that Postgres uses on Linux.

use std::process::Stdio;

use errand_devstack::{cargo, packages};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::Result;

/// The mean time to flush one page, in milliseconds.
pub(crate) async fn mean_ms() -> Result<f64> {
    let dir = cargo::repository().join(".errand");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join(format!("fsync-{}", std::process::id()));
    let mut child = Command::new(packages::find_here()?.postgres_bin.join("pg_test_fsync"))
        .args(["--secs-per-test", "2", "--filename"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("pg_test_fsync has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut found = Err("the output of pg_test_fsync contains no time for fdatasync".into());
    while let Some(line) = lines.next_line().await? {
        if let Some(micros) = micros(&line) {
            found = Ok(micros / 1000.0);
            break;
        }
    }
    // The other methods are not needed.
    child.kill().await?;
    std::fs::remove_file(&file)?;
    found
}

/// Parses a line such as `fdatasync    1234.567 ops/sec     810 usecs/op`.
fn micros(line: &str) -> Option<f64> {
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("fdatasync") {
        return None;
    }
    words.nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flush_time_is_read_from_the_line_of_fdatasync() {
        let line = "        fdatasync                          1234.567 ops/sec     810 usecs/op";
        assert_eq!(micros(line), Some(810.0));
        assert_eq!(
            micros("        fsync     1234.567 ops/sec     810 usecs/op"),
            None
        );
        assert_eq!(
            micros("        fdatasync                                 n/a"),
            None
        );
    }
}
