//! Rate limits as times between requests, and their bounds.

/// The share of a minute's requests that may start at once. The others are spread over the minute, so that no minute exceeds the
/// limit.
const BURST: f64 = 0.1;
const MICROS_PER_MINUTE: f64 = 60_000_000.0;

/// A limit per minute, as times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Cost of one request or token, in microseconds.
    pub(super) cost: f64,
    /// The burst, in microseconds.
    pub(super) burst: f64,
}

impl Rate {
    /// `None` if `limit` is 0, which means unlimited.
    pub(super) fn per_minute(limit: u32) -> Option<Self> {
        if limit == 0 {
            return None;
        }
        let limit = f64::from(limit);
        let burst = (limit * BURST).max(1.0);
        let cost = MICROS_PER_MINUTE / (limit - burst).max(1.0);
        // The request itself is part of the burst.
        Some(Self {
            cost,
            burst: cost * (burst - 1.0),
        })
    }
}

/// Larger token counts are treated as this many.
const MAX_TOKENS: u64 = 1_000_000_000;

/// Converts a token count to a number for the script, bounded by [`MAX_TOKENS`].
pub(super) fn number(tokens: u64) -> f64 {
    u32::try_from(tokens.min(MAX_TOKENS)).map_or(0.0, f64::from)
}
