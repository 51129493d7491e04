//! A file of agents for one test.

use std::path::PathBuf;

use errand_shared::Uuid;

/// The file; it is removed when dropped.
#[derive(Debug)]
pub struct AgentsFile(PathBuf);

impl AgentsFile {
    /// A file that says this.
    ///
    /// # Panics
    /// If it can't be written.
    #[expect(clippy::unwrap_used, reason = "a test without its file can only fail")]
    pub fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("errand-agents-{}.toml", Uuid::now_v7()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// The argument by which a program reads it.
    pub fn setting(&self) -> String {
        format!("--agents-file={}", self.0.display())
    }
}

impl Drop for AgentsFile {
    fn drop(&mut self) {
        // A file that is left behind harms nobody.
        drop(std::fs::remove_file(&self.0));
    }
}
