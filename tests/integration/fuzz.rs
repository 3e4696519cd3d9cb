//! The fuzz targets of `fuzz/`, on a bounded number of inputs and without a fuzzer.
//!
//! Inputs begin as fixtures and are damaged at random, by a generator with a constant seed: the same
//! ones every time. `LOGKNOCK_LONG=1` runs a hundred times as many, `LOGKNOCK_SEED=n` other ones.

use std::env;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

use super::random::Random;

#[path = "../../fuzz/targets/command.rs"]
mod command;
#[path = "../../fuzz/targets/config.rs"]
mod config;
#[path = "../../fuzz/targets/control.rs"]
mod control;
#[path = "../../fuzz/targets/dialect.rs"]
mod dialect;
#[path = "../../fuzz/targets/engine.rs"]
mod engine;
#[path = "../../fuzz/targets/format.rs"]
mod format;
#[path = "../../fuzz/targets/framing.rs"]
mod framing;
#[path = "../../fuzz/targets/knockd.rs"]
mod knockd;
#[path = "../../fuzz/targets/ledger.rs"]
mod ledger;
#[path = "../../fuzz/targets/netlink.rs"]
mod netlink;
#[path = "../../fuzz/targets/nflog.rs"]
mod nflog;
#[path = "../../fuzz/targets/packet.rs"]
mod packet;
#[path = "../../fuzz/targets/privsep.rs"]
mod privsep;
#[path = "../../fuzz/targets/replay.rs"]
mod replay;
#[path = "../../fuzz/targets/seeds.rs"]
mod seeds;

/// Longest input.
const MAX_INPUT: usize = 4096;

#[test]
fn any_line_has_a_framing() {
    fuzz("framing", 20_000, framing::run);
}

#[test]
fn any_message_is_a_packet_only_as_it_was_logged() {
    fuzz("packet", 20_000, packet::run);
}

#[test]
fn any_datagram_is_packets_within_it() {
    fuzz("nflog", 20_000, nflog::run);
}

#[test]
fn a_key_of_knockd_that_ends_in_a_digit_is_no_port() {
    knockd::run(b"[A]\nsequence_of_6 = 7001\nsequences_6 7001\nsequence = 7001\n");
}

#[test]
fn any_line_can_be_shown() {
    fuzz("dialect", 20_000, dialect::run);
}

#[test]
fn any_regex_is_refused_or_reads_whole_packets() {
    fuzz("format", 1_000, format::run);
}

#[test]
fn any_text_is_a_config_or_has_presentable_mistakes() {
    fuzz("config", 2_000, config::run);
}

#[test]
fn any_bytes_are_a_knockd_conf_or_have_presentable_mistakes() {
    fuzz("knockd", 3_000, knockd::run);
}

#[test]
fn any_words_are_a_command_or_none() {
    fuzz("command", 20_000, command::run);
}

#[test]
fn any_schedule_opens_and_closes_in_pairs() {
    fuzz("engine", 3_000, engine::run);
}

#[test]
fn any_log_can_be_replayed_to_its_end() {
    fuzz("replay", 1_000, replay::run);
}

#[test]
fn any_journal_is_read_and_kept() {
    fuzz("ledger", 200, ledger::run);
}

#[test]
fn any_answer_of_the_kernel_is_read_and_every_batch_is_whole() {
    fuzz("netlink", 20_000, netlink::run);
}

#[test]
fn any_bytes_between_the_processes_are_one_message_or_none() {
    fuzz("privsep", 20_000, privsep::run);
}

#[test]
fn any_frame_on_the_control_socket_is_a_request_or_an_error() {
    fuzz("control", 20_000, control::run);
}

#[test]
fn every_target_can_be_fuzzed_and_is_run_here() {
    let here = include_str!("fuzz.rs");
    let manifest = include_str!("../../fuzz/Cargo.toml");
    for target in seeds::TARGETS {
        assert!(here.contains(&format!("fuzz(\"{target}\", ")), "{target}");
        let path = format!("path = \"fuzz_targets/{target}.rs\"");
        assert!(manifest.contains(&path), "{target}");
    }
    let targets = manifest.matches("path = \"fuzz_targets/").count();
    assert_eq!(targets, seeds::TARGETS.len());
}

/// Gives `target` its seeds, and then so many inputs made of them. A failure shows the input.
fn fuzz(name: &str, count: usize, target: fn(&[u8])) {
    let seeds = seeds::of(name, Path::new(env!("CARGO_MANIFEST_DIR")));
    let number = |name| env::var(name).ok()?.parse().ok();
    let long = number("LOGKNOCK_LONG").is_some_and(|long: u64| long == 1);
    let mut random = Random(number("LOGKNOCK_SEED").unwrap_or(20_261_120));
    let count = if long { count * 100 } else { count };
    let mutated = (0..count).map(|_| mutate(&seeds, &mut random));
    for input in seeds.iter().cloned().chain(mutated) {
        if let Err(panic) = catch_unwind(|| target(&input)) {
            eprintln!("{name}: \"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

/// One of the seeds with some damage.
fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(seeds).clone();
    for _ in 0..=random.below(4) {
        let (start, end) = range(input.len(), random);
        match random.below(8) {
            0 if !input.is_empty() => input[start.min(end - 1)] ^= 1 << random.below(8),
            1 => input.insert(start, random.byte()),
            2 => drop(input.drain(start..end)),
            3 => input.truncate(end),
            4 => input.extend_from_within(start..end),
            5 => {
                let digits = random.below(1 << 40).to_string();
                input.splice(start..end.min(start + 5), digits.bytes());
            }
            _ => {
                let other = random.pick(seeds);
                let (from, to) = range(other.len(), random);
                input.splice(start..end, other[from..to].iter().copied());
            }
        }
    }
    input.truncate(MAX_INPUT);
    input
}

/// A piece of so many bytes: mostly a short one, and not empty where that is possible.
fn range(length: usize, random: &mut Random) -> (usize, usize) {
    if length == 0 {
        return (0, 0);
    }
    let start = random.below(length);
    let most = if random.below(4) == 0 { length } else { 12 };
    (start, (start + 1 + random.below(most)).min(length))
}
