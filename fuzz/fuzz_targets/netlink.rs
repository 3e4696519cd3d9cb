#![no_main]

#[path = "../targets/netlink.rs"]
mod netlink;

libfuzzer_sys::fuzz_target!(|data: &[u8]| netlink::run(data));
