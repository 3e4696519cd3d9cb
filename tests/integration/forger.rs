//! A forged sequence in front of a genuine one, through the reading and the engine that the daemon uses.
//!
//! In: how one of the three lines is forged. Out: why each was rejected; that nothing was told of the
//! forger, and that the owner's knock opened, has been checked.

use std::io::Cursor;
use std::net::IpAddr;

use logknock::calendar::Zone;
use logknock::config;
use logknock::dialect::{Format, Reader};
use logknock::engine::event::EventKind;
use logknock::engine::knock::KnockerPrefix;
use logknock::engine::reading::Expected;
use logknock::engine::reason::{Reason, Tally};
use logknock::engine::time::Time;
use logknock::replay::{self, Input};
use time::UtcOffset;

pub(crate) const PREFIX: &str = "lk-4f9a1c7e: ";
pub(crate) const SEQUENCE: [u16; 3] = [7000, 8000, 9000];
/// Who is to be let in by a forgery, and who knocks as one should.
pub(crate) const FORGER: &str = "6.6.6.6";
pub(crate) const OWNER: &str = "203.0.113.7";
/// A door for the sequence.
pub(crate) const STRICT: &str = "sequence = [7000, 8000, 9000]";

/// What a replay told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) opened: Vec<IpAddr>,
    /// Everybody of whom anything was told.
    pub(crate) seen: Vec<IpAddr>,
    pub(crate) hits: u64,
    pub(crate) rejected: Tally,
}

/// Runs `logs` through a door with the keys `door`, as the daemon would read them.
pub(crate) fn replay(dialect: Format, expected: Expected, door: &str, logs: &[String]) -> Told {
    let text = format!("[door.ssh]\nstart_command = \"true\"\nstop_command = \"true\"\n{door}\n");
    let doors = config::parse("attack.toml", &text).unwrap().doors;
    let input = |log: &String| Input {
        content: Box::new(Cursor::new(log.clone().into_bytes())),
        written: Time::from_secs(1_795_300_000),
        own: None,
    };
    let (mut opened, mut seen) = (Vec::new(), Vec::new());
    let summary = replay::run(
        logs.iter().map(input).collect(),
        &Reader::new(dialect, expected),
        doors,
        KnockerPrefix::default(),
        Zone::Fixed(UtcOffset::UTC),
        &mut |shown| {
            seen.push(shown.event.src);
            if shown.event.kind == EventKind::Open {
                opened.push(shown.event.src);
            }
            Ok(())
        },
    );
    let summary = summary.unwrap();
    Told {
        opened,
        seen,
        hits: summary.hits,
        rejected: summary.rejected,
    }
}

pub(crate) fn secret() -> Expected {
    Expected::Prefix(PREFIX.as_bytes().into())
}

/// A SYN's fields as the kernel writes them.
pub(crate) fn syn(src: &str, port: u16) -> String {
    format!(
        "IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC={src} DST=192.0.2.1 LEN=60 TOS=0x00 \
         PREC=0x00 TTL=52 ID={port} DF PROTO=TCP SPT=4{port} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 "
    )
}

/// What syslog writes of `text` after so many seconds.
pub(crate) fn logged(seconds: usize, text: &str) -> String {
    format!("2026-11-20T21:00:{seconds:02}.5+00:00 fw {text}\n")
}

/// The kernel's line, with its stamp.
pub(crate) fn kernel(seconds: usize, message: &str) -> String {
    logged(
        seconds,
        &format!("kernel: [  {}.500000] {message}", 100 + seconds),
    )
}

pub(crate) fn knock(seconds: usize, src: &str) -> String {
    let line = |(late, port)| kernel(seconds + late, &format!("{PREFIX}{}", syn(src, port)));
    SEQUENCE.into_iter().enumerate().map(line).collect()
}

/// Forges the sequence with `line`, given the place in it and the port; then the owner knocks. Gives
/// how often each reason was given.
pub(crate) fn forged(line: impl Fn(usize, u16) -> String) -> Tally {
    let forged: String = SEQUENCE
        .into_iter()
        .enumerate()
        .map(|(place, port)| line(place, port))
        .collect();
    let told = replay(
        Format::Kernel,
        secret(),
        STRICT,
        &[forged.clone() + &knock(20, OWNER)],
    );
    let owner: IpAddr = OWNER.parse().unwrap();
    assert_eq!(told.opened, [owner], "{forged}");
    assert!(
        told.seen.iter().all(|&src| src == owner),
        "{forged}{told:?}"
    );
    assert_eq!(told.hits, 3, "{forged}{told:?}");
    told.rejected
}

/// The same, where each of the three is rejected for `reason`.
pub(crate) fn is_rejected(reason: Reason, line: impl Fn(usize, u16) -> String) {
    let rejected = forged(line);
    let all: Vec<_> = rejected.iter().collect();
    assert_eq!(all, [(reason, 3)]);
}
