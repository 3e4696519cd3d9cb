//! Tests of the library and of the binary that need neither root nor a network.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "integration/engine.rs"]
mod engine; // properties of the detection, on random knocks
#[path = "integration/samples.rs"]
mod samples; // every line of fixtures/samples gets the reading it must get
