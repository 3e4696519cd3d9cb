#![no_main]

#[path = "../targets/nflog.rs"]
mod nflog;

libfuzzer_sys::fuzz_target!(|data: &[u8]| nflog::run(data));
