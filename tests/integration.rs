//! Tests of the library and of the binary that need neither root nor a network.

#[path = "integration/engine.rs"]
mod engine; // properties of the detection, on random knocks
