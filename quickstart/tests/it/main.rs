//! The private servers and the program itself, with the real Postgres and Redis.

mod folder;
mod postgres;
mod program;
mod redis;
