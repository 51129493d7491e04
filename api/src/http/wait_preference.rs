//! How long a caller wants to wait for a run: `Prefer: wait=S` or `Prefer: respond-async` (RFC 7240).

use std::time::Duration;

use axum::http::HeaderMap;

use crate::{http::error::ApiError, settings::ChatSettings};

/// How long the response may wait for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitPreference {
    pub(crate) timeout: Duration,
    /// Whether the caller sent a preference.
    pub(crate) is_explicit: bool,
}

impl WaitPreference {
    /// Reads the `Prefer` headers. The first preference wins; unknown preferences are ignored.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if `wait` is not a whole number of seconds from 0 to `CHAT_WAIT_MAX`.
    pub(crate) fn from_headers(headers: &HeaderMap, settings: &ChatSettings) -> Result<Self, ApiError> {
        let preferences = headers
            .get_all("prefer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .map(str::trim);
        for preference in preferences {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => {
                    return Ok(Self {
                        timeout: Duration::ZERO,
                        is_explicit: true,
                    });
                }
                "wait" => {
                    let timeout = seconds(value.trim().trim_matches('"'), settings)
                        .ok_or_else(|| ApiError::invalid("Prefer", wait_rule(settings)))?;
                    return Ok(Self {
                        timeout,
                        is_explicit: true,
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            timeout: Duration::from_secs(settings.chat_wait_default),
            is_explicit: false,
        })
    }
}

/// Parses seconds to wait. None unless they are a whole number from 0 to `CHAT_WAIT_MAX`.
pub(crate) fn seconds(text: &str, settings: &ChatSettings) -> Option<Duration> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds <= settings.chat_wait_max)
        .map(Duration::from_secs)
}

/// The rule of [`seconds`], for an error.
pub(crate) fn wait_rule(settings: &ChatSettings) -> String {
    format!(
        "wait must be a whole number of seconds from 0 to {}",
        settings.chat_wait_max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ChatSettings = ChatSettings {
        chat_wait_default: 50,
        chat_wait_max: 300,
        max_open_runs_per_user: 0,
        max_queued_runs: 0,
        rate_limit_chat_per_minute: 0,
        wait_sweep_ms: Duration::from_secs(1),
    };

    fn wait_of(prefer: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", prefer.parse().unwrap());
        WaitPreference::from_headers(&headers, &SETTINGS)
            .ok()
            .map(|preference| preference.timeout.as_secs())
    }

    #[test]
    fn wait_comes_from_the_first_preference() {
        assert_eq!(
            WaitPreference::from_headers(&HeaderMap::new(), &SETTINGS)
                .unwrap()
                .timeout
                .as_secs(),
            50
        );
        for (prefer, expected) in [
            ("wait=0", Some(0)),
            ("wait=7", Some(7)),
            ("Wait = 7", Some(7)),
            ("wait=\"7\"", Some(7)),
            ("wait=300", Some(300)),
            ("wait=301", None),
            ("wait=-1", None),
            ("wait=", None),
            ("wait=1.5", None),
            ("respond-async", Some(0)),
            ("respond-async, wait=5", Some(0)),
            ("wait=5, respond-async", Some(5)),
            ("handling=lenient; wait=5", Some(5)),
            ("return=minimal", Some(50)),
        ] {
            assert_eq!(wait_of(prefer), expected, "{prefer}");
        }
    }
}
