//! Tests of the API with real Postgres and Redis, one file per subject.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod chat_table;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod conversations;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod live_events;
#[cfg(test)]
mod live_lost;
#[cfg(test)]
mod live_measure;
#[cfg(test)]
mod live_resume;
#[cfg(test)]
mod live_socket;
#[cfg(test)]
mod main_job;
#[cfg(test)]
mod mcp;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod users_apart;
#[cfg(test)]
mod verify;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod wire;
