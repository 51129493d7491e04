//! Brings up everything on one machine.
fn main() {}
