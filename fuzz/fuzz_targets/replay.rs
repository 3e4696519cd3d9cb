#![no_main]

#[path = "../targets/replay.rs"]
mod replay;

libfuzzer_sys::fuzz_target!(|data: &[u8]| replay::run(data));
