//! The limit on open files: each connection and each waiting model call takes one.

/// Raises this process's limit as far as the system lets it, and says so if that is less than `wanted`.
pub fn raise(wanted: u64) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= wanted => tracing::debug!(limit, "open files"),
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "fewer files may be open than the settings can need; raise the limit (ulimit -n, LimitNOFILE)"
        ),
        Err(error) => tracing::warn!(%error, wanted, "the limit on open files could not be raised"),
    }
}
