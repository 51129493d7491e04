//! The private servers and the program itself, with the real Postgres and Redis.

#[cfg(test)]
mod folder;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod program;
#[cfg(test)]
mod redis;
