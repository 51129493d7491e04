//! The program itself, with the real Postgres and Redis.

#[cfg(test)]
mod dir;
#[cfg(test)]
mod program;
