//! No port scan opens a door; and the same scans do open one that is not strict, or this would prove
//! nothing.
//!
//! A scan is a log: a SYN to each of some ports, from one address, in some order. It goes through
//! `replay` with a door of three of these ports, and time enough for all of them.

use std::fmt::Write as _;
use std::io::Cursor;
use std::time::Duration;

use logknock::calendar::{Zone, rfc3339};
use logknock::config;
use logknock::dialect::{Format, Reader};
use logknock::engine::knock::KnockerPrefix;
use logknock::engine::reading::Expected;
use logknock::engine::sequence::Transport;
use logknock::engine::time::Time;
use logknock::engine::totp::{Secret, Totp, TotpKeys};
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
/// A door by the time, whose ports every scan hits, and its sequence at the begin of the log.
const TOTP: &str =
    "totp = { secret = \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\", knocks = 3, ports = \"1-12300\" }";
/// When the log begins.
const BEGIN: i64 = 1_700_000_010;

/// More of them, where there is time.
fn scans() -> usize {
    if std::env::var_os("LOGKNOCK_LONG").is_some() {
        2_000
    } else {
        200
    }
}

#[test]
fn no_scan_in_random_order_opens_a_door() {
    assert_eq!(opened("strict = true", &random_scans()), 0);
}

#[test]
fn a_door_that_is_not_strict_opens_for_one_random_scan_in_six() {
    let opened = opened("strict = false", &random_scans());
    let all = scans() as u64;
    let sixth = all / 10..=all / 4;
    assert!(sixth.contains(&opened), "{opened} of {all}");
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

/// Every scan there is here.
fn all_scans() -> Vec<Vec<u16>> {
    let mut common_first = COMMON.to_vec();
    common_first.extend(ports().iter().filter(|port| !COMMON.contains(port)));
    let mut scans = random_scans();
    scans.extend([ports(), ports().into_iter().rev().collect(), common_first]);
    scans
}

#[test]
fn no_scan_opens_a_door_that_counts_though_one_that_asks_for_one_hit_it_does() {
    let counts = |counts| format!("counts = {counts}\nport = {}\nwindow = \"4s\"", DOOR[1]);
    assert_eq!(opened(&counts("[1, 2, 3, 4]"), &all_scans()), 0);
    assert_eq!(opened(&counts("[1]"), &[ports()]), 1);
}

#[test]
fn no_scan_opens_a_door_by_the_time_though_its_own_ports_do() {
    let mut scans = all_scans();
    assert_eq!(opened(TOTP, &scans), 0);
    let totp = Totp::new(TotpKeys {
        secret: Secret::new(b"12345678901234567890".to_vec()).unwrap(),
        knocks: 3,
        ports: (1, 12_300),
        transport: Transport::Tcp,
        step: 30,
        skew: 1,
        beginning: None,
    });
    let totp = totp.unwrap();
    let sequence = totp.sequence(totp.number_at(BEGIN).unwrap()).unwrap();
    scans.push(sequence.steps().iter().map(|step| step.port).collect());
    assert_eq!(opened(TOTP, &scans), 1);
}

#[test]
fn a_knock_among_packets_of_scanners_opens() {
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
    (0..scans()).map(scan).collect()
}

/// How often a door with these `keys` opens for the `scans`, which go on at the same time.
fn opened(keys: &str, scans: &[Vec<u16>]) -> u64 {
    let has_own = ["sequence", "counts", "totp"]
        .iter()
        .any(|key| keys.contains(key));
    let sequence = if has_own {
        String::new()
    } else {
        format!("sequence = {DOOR:?}\n")
    };
    let window = if keys.contains("counts") {
        ""
    } else {
        "seq_timeout = \"1h\"\n"
    };
    let config = format!(
        "[door.ssh]\n{sequence}{keys}\n{window}start_command = \"/bin/true\"\nstop_command = \"/bin/true\"\n"
    );
    let config = config::parse("scan.toml", &config).unwrap_or_else(|errors| panic!("{errors}"));
    let input = Input {
        content: Box::new(Cursor::new(log(scans))),
        written: Time::default(),
        own: None,
    };
    let expected = Expected::Prefix(PREFIX.as_bytes().into());
    let reader = Reader::new(Format::Kernel, expected);
    let summary = replay::run(
        vec![input],
        &reader,
        config.doors,
        KnockerPrefix::default(),
        Zone::Local,
        &mut |_| Ok(()),
    )
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
    let begin = Time::from_secs(BEGIN);
    for place in 0..longest {
        for (number, scan) in scans.iter().enumerate() {
            let Some(port) = scan.get(place) else {
                continue;
            };
            uptime += 1;
            writeln!(
                log,
                "{} gw1 kernel: [{}.{:03}000] {PREFIX}IN=eth0 OUT= MAC=00:00:5e:00:53:01:00:00:5e:00:53:fe:08:00 \
                 SRC=198.18.{}.{} DST=192.0.2.1 LEN=44 TOS=0x00 PREC=0x00 TTL=49 ID={} PROTO=TCP \
                 SPT=61234 DPT={port} WINDOW=1024 RES=0x00 SYN URGP=0 ",
                rfc3339(begin.after(Duration::from_millis((uptime - 1_000_000).into()))),
                uptime / 1000,
                uptime % 1000,
                number / 250,
                number % 250 + 1,
                uptime % 65_536
            )
            .unwrap();
        }
    }
    log
}
