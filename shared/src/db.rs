//! All SQL, a file a subject. Functions take a connection or an executor: the caller owns the transaction.

pub mod tasks;
