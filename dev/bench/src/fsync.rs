//! How long this machine's disk takes to flush, as `pg_test_fsync` finds it with the method that Postgres uses on Linux.

use std::process::Stdio;

use errand_quickstart::{cargo, packages};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::Result;

/// Milliseconds of a flush of one page, on average.
pub(crate) async fn mean_ms() -> Result<f64> {
    let folder = cargo::repository().join(".errand");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("fsync-{}", std::process::id()));
    let mut child = Command::new(packages::find_here()?.postgres_bin.join("pg_test_fsync"))
        .args(["--secs-per-test", "2", "--filename"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("pg_test_fsync says nothing")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut found = Err("pg_test_fsync has no figure for fdatasync".into());
    while let Some(line) = lines.next_line().await? {
        if let Some(micros) = micros(&line) {
            found = Ok(micros / 1000.0);
            break;
        }
    }
    // The other methods are of no interest.
    child.kill().await?;
    std::fs::remove_file(&file)?;
    found
}

/// Of a line such as `fdatasync    1234.567 ops/sec     810 usecs/op`.
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
    fn the_time_of_a_flush_is_read_from_the_line_of_its_method() {
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
