//! Parses a message into actions, without regard to the messages before it.
//!
//! [`token`] splits the message into tokens, [`clause`] into clauses, and [`intent`] classifies each clause by a table of
//! [`rules`] whose patterns capture titles, descriptions and targets.

pub(crate) mod clause;
mod description;
pub(crate) mod intent;
mod lexicon;
mod ordinal;
mod pattern;
mod politeness;
mod query;
mod rules;
pub(crate) mod target;
pub(crate) mod title;
pub(crate) mod token;
