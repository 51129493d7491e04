//! The routes, a file a resource.

pub(crate) mod health;
