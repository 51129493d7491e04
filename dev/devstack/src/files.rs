//! Directories and files: data, logs, secrets and the records of running processes.

pub mod data_dir;
pub mod logs;
pub(crate) mod owner;
pub mod pid_file;
pub mod secret;
pub mod temp_dir;
