//! The live view of runs: their events as they happen, for readers who may come late, leave and come back.
//!
//! An event is a hint like all that Redis carries: what a reader has missed is told from the run's log, or from Postgres.

mod event;
mod follow;
mod frame;
mod news;
mod readers;
mod seats;
mod shown;
mod snapshot;
pub(crate) mod socket;
mod stream;

pub(crate) use self::{
    event::LiveEvent,
    follow::Follow,
    news::listen,
    readers::{Live, Readers, Reading},
    seats::Seats,
    stream::{Streamed, after_of, begin, is_wanted, respond},
};
