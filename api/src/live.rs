//! Live events of runs, streamed to subscribers who may connect late, disconnect and reconnect.
//!
//! Redis may lose an event. What a subscriber missed is sent again from the run's event log or, without one, from Postgres.

mod connection_limit;
mod event;
mod frame;
mod redis_listener;
mod reply_digest;
mod run_subscription;
mod snapshot;
pub(crate) mod socket;
mod state;
mod stream;
mod subscribers;

pub(crate) use self::{
    connection_limit::ConnectionLimit,
    event::LiveEvent,
    redis_listener::listen,
    run_subscription::RunSubscription,
    state::{LiveState, Parts},
    stream::{RunStream, accepts_event_stream, event_stream_response, last_seen_event, subscribe},
    subscribers::{Delivery, Subscribers},
};
