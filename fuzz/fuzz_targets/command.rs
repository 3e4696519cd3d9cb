#![no_main]

#[path = "../targets/command.rs"]
mod command;

libfuzzer_sys::fuzz_target!(|data: &[u8]| command::run(data));
