//! No port scan opens a door; and the same scans do open one that is not strict, or this would prove
//! nothing.
//!
//! A scan is a log: a SYN to each of some ports, from one address, in some order. It goes through
//! `replay` with a door of three of these ports, and time enough for all of them.

use std::fmt::Write as _;
use std::io::Cursor;

use logknock::calendar::Zone;
use logknock::config;
use logknock::dialect::{Dialect, Reader};
use logknock::engine::reading::Expected;
use logknock::engine::time::Time;
use logknock::replay::{self, Input};

use super::random::Random;

const PREFIX: &str = "lk-4f9a1c7e: ";
/// The ports of the door, in its order.
const DOOR: [u16; 3] = [7000, 8443, 9000];
/// What a scanner tries first.
const COMMON: [u16; 20] = [
    80, 23, 443, 21, 22, 25, 3389, 110, 445, 139, 143, 53, 135, 3306, 8080, 1723, 111, 995, 993,
    5900,
];
const SCANS: usize = 200;

#[test]
fn no_scan_in_random_order_opens_a_door() {
    assert_eq!(opened("strict = true", &random_scans()), 0);
}

#[test]
fn a_door_that_is_not_strict_opens_for_one_random_scan_in_six() {
    let opened = opened("strict = false", &random_scans());
    assert!((20..=50).contains(&opened), "{opened} of {SCANS}");
}

#[test]
fn no_scan_upwards_opens_a_door_though_it_would_one_that_is_not_strict() {
    let scan = [ports()];
    assert_eq!(opened("strict = true", &scan), 0);
    assert_eq!(opened("strict = false", &scan), 1);
}

#[test]
fn no_scan_downwards_opens_a_door_though_it_would_one_of_the_reverse_order() {
    let mut scan = [ports()];
    scan[0].reverse();
    let reverse = "sequence = [9000, 8443, 7000]\nstrict = ";
    assert_eq!(opened(&format!("{reverse}true"), &scan), 0);
    assert_eq!(opened(&format!("{reverse}false"), &scan), 1);
}

#[test]
fn no_scan_of_the_common_ports_first_opens_a_door_though_it_would_one_that_is_not_strict() {
    let mut scan = COMMON.to_vec();
    scan.extend(ports().iter().filter(|port| !COMMON.contains(port)));
    let scan = [scan];
    assert_eq!(opened("strict = true", &scan), 0);
    assert_eq!(opened("strict = false", &scan), 1);
}

#[test]
fn one_who_knocks_among_the_packets_of_scanners_gets_in() {
    let mut scans = random_scans();
    scans.push(DOOR.to_vec());
    assert_eq!(opened("strict = true", &scans), 1);
}

/// Those of the door among 300 others, upwards.
fn ports() -> Vec<u16> {
    let mut ports: Vec<u16> = (1..=300).map(|number| number * 41).collect();
    ports.extend(DOOR);
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn random_scans() -> Vec<Vec<u16>> {
    let mut random = Random(20_261_120);
    let scan = |_| {
        let mut ports = ports();
        random.shuffle(&mut ports);
        ports
    };
    (0..SCANS).map(scan).collect()
}

/// How often a door with these `keys` opens for the `scans`, which go on at the same time.
fn opened(keys: &str, scans: &[Vec<u16>]) -> u64 {
    let sequence = if keys.contains("sequence") {
        String::new()
    } else {
        format!("sequence = {DOOR:?}\n")
    };
    let config = format!(
        "[door.ssh]\n{sequence}{keys}\nseq_timeout = \"1h\"\nstart_command = \"/bin/true\"\nstop_command = \"/bin/true\"\n"
    );
    let config = config::parse("scan.toml", &config).unwrap_or_else(|errors| panic!("{errors}"));
    let input = Input {
        content: Box::new(Cursor::new(log(scans))),
        written: Time::default(),
    };
    let expected = Expected::Prefix(PREFIX.as_bytes().into());
    let reader = Reader::new(Dialect::Kernel, expected);
    let summary = replay::run(vec![input], &reader, config.doors, Zone::Local, &mut |_| {
        Ok(())
    })
    .unwrap();
    let packets: usize = scans.iter().map(Vec::len).sum();
    assert_eq!(summary.hits, packets as u64, "every packet counts");
    summary.opens
}

/// A packet of each scan in turn, a millisecond apart.
fn log(scans: &[Vec<u16>]) -> String {
    let mut log = String::new();
    let longest = scans.iter().map(Vec::len).max().unwrap();
    let mut uptime = 1_000_000_u32;
    for place in 0..longest {
        for (number, scan) in scans.iter().enumerate() {
            let Some(port) = scan.get(place) else {
                continue;
            };
            uptime += 1;
            writeln!(
                log,
                "kernel: [{}.{:03}000] {PREFIX}IN=eth0 OUT= MAC=00:00:5e:00:53:01:00:00:5e:00:53:fe:08:00 \
                 SRC=198.51.100.{number} DST=192.0.2.1 LEN=44 TOS=0x00 PREC=0x00 TTL=49 ID={} PROTO=TCP \
                 SPT=61234 DPT={port} WINDOW=1024 RES=0x00 SYN URGP=0 ",
                uptime / 1000,
                uptime % 1000,
                uptime % 65_536
            )
            .unwrap();
        }
    }
    log
}
