//! The API over real services: see each file's name.

mod chat_table;
mod idempotency;
mod main_job;
mod users_apart;
mod waiting;
