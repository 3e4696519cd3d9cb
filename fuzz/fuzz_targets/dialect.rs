#![no_main]

#[path = "../targets/dialect.rs"]
mod dialect;

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialect::run(data));
