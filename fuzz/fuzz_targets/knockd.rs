#![no_main]

#[path = "../targets/knockd.rs"]
mod knockd;

libfuzzer_sys::fuzz_target!(|data: &[u8]| knockd::run(data));
