//! Private servers, with the real Postgres and Redis.

#[cfg(test)]
mod dir;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod redis;
