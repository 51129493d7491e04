//! How long a provider asks to wait: in headers or in the body of an error, in every known notation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;
use sqlx::types::chrono::DateTime;

/// Longer waits, and times before this many seconds from the epoch, are not what a header means.
const MAX_WAIT: Duration = Duration::from_hours(48);

/// The wait in the headers of a response, of which [`retry_after_in_body`] reads the body.
pub(super) fn retry_after_in_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|text| seconds(text.parse::<f64>().ok()? / 1000.0));
    let retry_after = text(RETRY_AFTER.as_str()).and_then(|text| {
        text.parse::<f64>()
            .map_or_else(|_not_a_number| until_date(text, headers), seconds)
    });
    let positive = |wait: &Duration| !wait.is_zero();
    milliseconds
        .filter(positive)
        .or(retry_after)
        .or(milliseconds)
        .or_else(|| rate_limit_reset(headers))
}

/// The time until the limits that are used up are reset. Some providers send a duration for each limit,
/// others one time or number of seconds.
fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let limits = ["requests", "tokens"].map(|limit| {
        let is_used_up =
            text(&format!("x-ratelimit-remaining-{limit}")).is_none_or(|remaining| remaining == "0");
        let reset = text(&format!("x-ratelimit-reset-{limit}"))
            .and_then(|text| duration(text).or_else(|| number(text.parse().ok()?)));
        reset.filter(|_| is_used_up)
    });
    let single = || {
        ["x-ratelimit-reset", "ratelimit-reset"]
            .into_iter()
            .find_map(|name| reset(text(name)?))
    };
    limits.into_iter().flatten().max().or_else(single)
}

/// The wait in the body of an error.
pub(super) fn retry_after_in_body(error: &Value) -> Option<Duration> {
    match error {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let name = name.to_ascii_lowercase().replace(['-', '_'], "");
            match (name.as_str(), value) {
                ("retryafter" | "retrydelay" | "retryafterseconds", value) => wait_of(value),
                ("retryafterms" | "retryaftermillis", value) => seconds(value.as_f64()? / 1000.0),
                ("xratelimitreset" | "ratelimitreset", Value::String(text)) => reset(text),
                ("xratelimitreset" | "ratelimitreset", value) => number(value.as_f64()?),
                ("message", Value::String(text)) => in_sentence(text),
                (_, value) => retry_after_in_body(value),
            }
        }),
        Value::Array(items) => items.iter().find_map(retry_after_in_body),
        Value::String(text) => in_sentence(text),
        _ => None,
    }
}

fn wait_of(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => duration(text).or_else(|| seconds(text.parse().ok()?)),
        value => seconds(value.as_f64()?),
    }
}

/// A wait in a sentence such as "Please try again in 1m2.5s." or "retry after 30 seconds".
fn in_sentence(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    [
        "try again in ",
        "retry in ",
        "retry after ",
        "try again after ",
        "wait ",
    ]
    .into_iter()
    .find_map(|words| {
        let (_, rest) = text.split_once(words)?;
        let mut words = rest.split_whitespace();
        let first = words.next()?.trim_end_matches(['.', ',', ';']);
        let number = first.parse::<f64>().ok();
        match (
            number,
            words
                .next()
                .map(|unit| unit.trim_end_matches(['.', ',', ';', ')'])),
        ) {
            (None, _) => duration(first),
            (Some(number), Some("ms" | "milliseconds")) => seconds(number / 1000.0),
            (Some(number), Some("s" | "sec" | "second" | "seconds")) => seconds(number),
            (Some(number), Some("minute" | "minutes")) => seconds(number * 60.0),
            (Some(_), _) => None,
        }
    })
}

/// A duration such as `1h2m3.5s` or `120ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let unit = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, unit) = rest.split_at(unit);
        let end = unit
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    if text.trim().is_empty() {
        None
    } else {
        seconds(total)
    }
}

/// A number of seconds, a time since the epoch in seconds or milliseconds, or a date.
fn reset(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(value) => number(value),
        Err(_) => duration(text).or_else(|| {
            let date = DateTime::parse_from_rfc3339(text).ok()?;
            since_now(seconds_of(date.timestamp_millis()))
        }),
    }
}

/// A number of seconds, or a time since the epoch in seconds or milliseconds.
fn number(value: f64) -> Option<Duration> {
    const MIN_SECONDS: f64 = 1e9;
    const MIN_MILLISECONDS: f64 = 1e12;
    if value >= MIN_MILLISECONDS {
        since_now(value / 1000.0)
    } else if value >= MIN_SECONDS {
        since_now(value)
    } else {
        seconds(value)
    }
}

/// The time until an HTTP date. The clock of the server counts, if it sends its time.
fn until_date(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let date = |text: &str| {
        DateTime::parse_from_rfc2822(text)
            .ok()
            .map(|date| seconds_of(date.timestamp_millis()))
    };
    let until = date(text)?;
    match headers.get(DATE).and_then(|now| date(now.to_str().ok()?)) {
        Some(now) => seconds((until - now).max(0.0)),
        None => since_now(until),
    }
}

fn since_now(epoch_seconds: f64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    seconds((epoch_seconds - now).max(0.0))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this era are exact")]
fn seconds_of(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|wait| *wait <= MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(headers: &[(&'static str, &str)]) -> Option<f64> {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        retry_after_in_headers(&headers.collect()).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn headers_in_every_notation() {
        assert_eq!(headers(&[("retry-after", "7")]), Some(7.0));
        assert_eq!(headers(&[("retry-after", "1.5")]), Some(1.5));
        assert_eq!(headers(&[("retry-after-ms", "250")]), Some(0.25));
        assert_eq!(
            headers(&[("retry-after-ms", "0"), ("retry-after", "1")]),
            Some(1.0)
        );
        let date = ("date", "Mon, 30 Nov 2026 10:00:00 GMT");
        assert_eq!(
            headers(&[("retry-after", "Mon, 30 Nov 2026 10:00:09 GMT"), date]),
            Some(9.0)
        );
        assert_eq!(
            headers(&[("retry-after", "Mon, 30 Nov 2026 09:59:00 GMT"), date]),
            Some(0.0)
        );
        assert_eq!(
            headers(&[("retry-after", "Thu, 01 Jan 2026 00:00:00 GMT")]),
            Some(0.0)
        );
        let openai = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1m2.5s"),
            ("x-ratelimit-remaining-tokens", "10"),
            ("x-ratelimit-reset-tokens", "2h"),
        ];
        assert_eq!(headers(&openai), Some(62.5));
        assert_eq!(headers(&[("x-ratelimit-reset-tokens", "120ms")]), Some(0.12));
        assert_eq!(headers(&[("x-ratelimit-reset", "30")]), Some(30.0));
        for soon in [1.0, 1000.0] {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs_f64();
            let wait = headers(&[("x-ratelimit-reset", &((now + 20.0) * soon).to_string())]);
            assert!(wait.is_some_and(|wait| (15.0..=20.0).contains(&wait)), "{wait:?}");
        }
    }

    #[test]
    fn headers_without_meaning_are_ignored() {
        for value in ["", "soon", "-1", "NaN", "inf", "1e300", "31 Nov"] {
            assert_eq!(headers(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(headers(&[]), None);
    }

    #[test]
    fn bodies_in_every_notation() {
        for (error, expected) in [
            (json!({"retry_after": 3}), Some(3.0)),
            (json!({"error": {"retryAfter": "2.5"}}), Some(2.5)),
            (json!({"details": [{"retryDelay": "34s"}]}), Some(34.0)),
            (json!({"retry_after_ms": 1500}), Some(1.5)),
            (
                json!({"metadata": {"headers": {"X-RateLimit-Reset": "20"}}}),
                Some(20.0),
            ),
            (
                json!({"message": "Rate limit reached. Please try again in 1m2.5s. Visit …"}),
                Some(62.5),
            ),
            (json!({"message": "Please try again in 20ms."}), Some(0.02)),
            (json!({"message": "Please retry after 30 seconds."}), Some(30.0)),
            (json!("Try again in 2 minutes"), Some(120.0)),
            (json!({"message": "please try again in a while"}), None),
            (json!({"retry_after": null, "code": 429}), None),
        ] {
            let wait = retry_after_in_body(&error).map(|wait| wait.as_secs_f64());
            assert_eq!(wait, expected, "{error}");
        }
    }
}
