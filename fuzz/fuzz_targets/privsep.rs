#![no_main]

#[path = "../targets/privsep.rs"]
mod privsep;

libfuzzer_sys::fuzz_target!(|data: &[u8]| privsep::run(data));
