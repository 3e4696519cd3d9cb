#![no_main]

#[path = "../../src/engine/chained_test.rs"]
mod chained;
#[path = "../targets/engine.rs"]
mod engine;

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::run(data));
