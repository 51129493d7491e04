//! An agents file for one test.

use std::path::PathBuf;

use errand_shared::Uuid;

/// An agents file. Dropping it removes the file.
#[derive(Debug)]
pub struct AgentsFile(PathBuf);

impl AgentsFile {
    /// Creates a file with this text.
    ///
    /// # Panics
    /// If it cannot be written.
    #[expect(clippy::unwrap_used, reason = "a test without its file can only fail")]
    pub fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("errand-agents-{}.toml", Uuid::now_v7()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// The program argument that names the file.
    pub fn setting(&self) -> String {
        format!("--agents-file={}", self.0.display())
    }
}

impl Drop for AgentsFile {
    fn drop(&mut self) {
        // A file that remains does no harm.
        drop(std::fs::remove_file(&self.0));
    }
}
