//! `Server-Timing` (W3C): where the time of a chat went, in milliseconds.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use errand_shared::domain::timing::RunTiming;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Says how long it took to take the message in, and of a run that has ended where its time went.
pub(crate) fn tell(response: &mut Response, accepted: Option<Duration>, run: Option<RunTiming>) {
    let accepted = accepted.map(|accepted| ("accept", accepted));
    let run = run.map(|run| {
        [
            ("queue", run.queue()),
            ("model", run.model()),
            ("tools", run.tools()),
            ("persist", run.persist()),
        ]
    });
    let metrics: Vec<_> = accepted
        .into_iter()
        .chain(run.into_iter().flatten())
        .map(|(name, time)| format!("{name};dur={:.3}", time.as_secs_f64() * 1000.0))
        .collect();
    if let Ok(value) = HeaderValue::try_from(metrics.join(", "))
        && !value.is_empty()
    {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(accepted: Option<Duration>, run: Option<RunTiming>) -> Option<String> {
        let mut response = Response::default();
        tell(&mut response, accepted, run);
        let value = response.headers().get(SERVER_TIMING)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn times_are_told_in_milliseconds_as_far_as_they_are_known() {
        let millis = Duration::from_millis;
        let run = RunTiming::new(millis(1), Duration::from_micros(50_250), millis(3), millis(4));
        assert_eq!(told(None, None), None);
        assert_eq!(told(Some(millis(2)), None).unwrap(), "accept;dur=2.000");
        assert_eq!(
            told(Some(millis(2)), Some(run)).unwrap(),
            "accept;dur=2.000, queue;dur=1.000, model;dur=50.250, tools;dur=3.000, persist;dur=4.000"
        );
    }
}
