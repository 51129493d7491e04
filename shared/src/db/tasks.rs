//! The to-do items of a user.
