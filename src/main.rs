//! The `logknock` binary.

fn main() {}
