//! How long a caller wants to wait: `Prefer: wait=S` or `Prefer: respond-async` (RFC 7240).

use std::time::Duration;

use axum::http::HeaderMap;

use crate::{http::error::ApiError, settings::ChatSettings};

/// How long to wait for a run's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitPreference {
    /// As long as this.
    pub(crate) wait: Duration,
    /// Whether the caller said so.
    pub(crate) asked_for: bool,
}

impl WaitPreference {
    /// What the headers ask for, at most the setting's maximum. The first preference of a name counts; unknown ones are
    /// ignored.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] if `wait` is no whole number of seconds from 0 to the maximum.
    pub(crate) fn of(headers: &HeaderMap, settings: &ChatSettings) -> Result<Self, ApiError> {
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
                        wait: Duration::ZERO,
                        asked_for: true,
                    });
                }
                "wait" => {
                    let wait = seconds(value.trim().trim_matches('"'), settings)
                        .ok_or_else(|| ApiError::invalid("Prefer", wait_rule(settings)))?;
                    return Ok(Self {
                        wait,
                        asked_for: true,
                    });
                }
                _ => {}
            }
        }
        Ok(Self {
            wait: Duration::from_secs(settings.chat_wait_default),
            asked_for: false,
        })
    }
}

/// Seconds to wait as a query or header gives them. None if they are no whole number from 0 to the maximum.
pub(crate) fn seconds(text: &str, settings: &ChatSettings) -> Option<Duration> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds <= settings.chat_wait_max)
        .map(Duration::from_secs)
}

/// The rule that [`seconds`] holds.
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
        WaitPreference::of(&headers, &SETTINGS)
            .ok()
            .map(|patience| patience.wait.as_secs())
    }

    #[test]
    fn preferences_say_how_long_to_wait() {
        assert_eq!(
            WaitPreference::of(&HeaderMap::new(), &SETTINGS)
                .unwrap()
                .wait
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
