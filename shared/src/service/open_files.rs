//! The limit on open files. Each connection and each model call uses one.

/// Raises the limit of this process to the system's maximum. Logs a warning if that is less than `wanted`.
pub fn raise(wanted: u64) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= wanted => tracing::debug!(limit, "open files"),
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "the limit on open files is lower than the settings may require; raise it (ulimit -n, LimitNOFILE)"
        ),
        Err(error) => tracing::warn!(%error, wanted, "the limit on open files could not be raised"),
    }
}
