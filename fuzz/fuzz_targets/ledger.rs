#![no_main]

#[path = "../targets/ledger.rs"]
mod ledger;

libfuzzer_sys::fuzz_target!(|data: &[u8]| ledger::run(data));
