//! Lines that are not of now, and floods, at the real daemon.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, SystemTime};

use logknock::calendar::rfc3339;
use logknock::clock;
use logknock::engine::time::Time;
use rustix::process::Signal;

use super::logknock::{Logknock, PREFIX};

const OWNER: &str = "203.0.113.7";
const PORTS: [u16; 3] = [7000, 8000, 9000];

/// The sequence in kernel lines of `src` with their headers set to `at`.
fn stamped(logknock: &Logknock, src: &str, at: Time) -> String {
    let line = |port| {
        let line = logknock.packet(src, port);
        let (_, rest) = line.split_once(' ').unwrap();
        format!("{} {rest}", rfc3339(at))
    };
    PORTS.map(line).concat()
}

/// Appends `lines`, lets the owner knock behind them, and checks that nobody else got in.
fn opens_nothing(logknock: &Logknock, lines: &str) {
    logknock.append("kern.log", lines);
    logknock.knock(OWNER);
    logknock.awaits_act(&format!("open {OWNER}"));
    assert_eq!(logknock.read("acts"), format!("open {OWNER}\n"));
}

#[test]
fn lines_older_than_max_line_age_open_nothing_and_are_reported() {
    let logknock = Logknock::new().door("");
    let mut daemon = logknock.follow("");
    let old = clock::wall_now().before(Duration::from_secs(3600));
    opens_nothing(&logknock, &stamped(&logknock, "6.6.6.6", old));
    daemon.says("older than max_line_age");
}

#[test]
fn a_restored_file_opens_nothing() {
    let logknock = Logknock::new().door("");
    let old = clock::wall_now().before(Duration::from_secs(90));
    let saved = stamped(&logknock, "6.6.6.6", old);
    let mut daemon = logknock.follow("");
    logknock.write("kern.log", saved.repeat(50));
    daemon.says("older than max_line_age");
    opens_nothing(&logknock, "");
}

#[test]
fn an_old_file_without_stamps_that_gets_the_name_opens_nothing() {
    let logknock = Logknock::new().door("");
    let mut daemon = logknock.follow("");
    for port in PORTS {
        let line = logknock.packet("6.6.6.6", port);
        let (_, rest) = line.split_once(PREFIX).unwrap();
        logknock.append("old.log", &format!("kernel: {PREFIX}{rest}"));
    }
    let old = fs::File::open(logknock.path("old.log")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    fs::rename(logknock.path("old.log"), logknock.path("kern.log")).unwrap();
    daemon.says("older than max_line_age");
    opens_nothing(&logknock, "");
}

#[test]
fn lines_of_the_future_open_nothing_and_are_reported() {
    let logknock = Logknock::new().door("");
    let mut daemon = logknock.follow("");
    let ahead = clock::wall_now().after(Duration::from_secs(60));
    opens_nothing(&logknock, &stamped(&logknock, "6.6.6.6", ahead));
    daemon.says("stamped later than now");
}

#[test]
fn a_ring_buffer_that_syslog_wrote_again_opens_nothing() {
    let logknock = Logknock::new().door("");
    let _daemon = logknock.follow("");
    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap();
    // A second after the boot on the kernel's clock, under a header of now.
    let lines = stamped(&logknock, "6.6.6.6", clock::wall_now());
    let lines = lines.replace(" gw1 kernel: ", &format!(" {host} kernel: [    1.000000] "));
    opens_nothing(&logknock, &lines);
}

#[test]
fn a_header_without_a_zone_is_read_in_the_zone_of_the_machine() {
    let logknock = Logknock::new().door("").set("TZ", "Asia/Tokyo");
    let _daemon = logknock.follow("");
    let tokyo = |time: Time| {
        let local = logknock::calendar::utc(time).unwrap() + time::Duration::hours(9);
        let (_, month, day) = local.to_calendar_date();
        let (hour, minute, second) = local.to_hms();
        let month = &month.to_string()[..3];
        format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02}")
    };
    let knock = |src, at| {
        let line = |port| {
            let line = logknock.packet(src, port);
            format!("{} {}", tokyo(at), line.split_once(' ').unwrap().1)
        };
        PORTS.map(line).concat()
    };
    let now = clock::wall_now();
    let old = knock("6.6.6.6", now.before(Duration::from_secs(100)));
    logknock.append("kern.log", &(old + &knock(OWNER, now)));
    logknock.awaits_act(&format!("open {OWNER}"));
    assert_eq!(logknock.read("acts"), format!("open {OWNER}\n"));
}

#[test]
fn the_end_of_a_file_and_the_beginning_of_the_next_are_not_one_line() {
    let logknock = Logknock::new().door("");
    let _daemon = logknock.follow("");
    let [first, second, third] = PORTS.map(|port| logknock.packet("6.6.6.6", port));
    let (head, tail) = second.split_at(second.find("DPT=8").unwrap() + 5);
    logknock.append("kern.log", &format!("{first}{head}"));
    logknock.write("kern.log", format!("{tail}{third}"));
    opens_nothing(&logknock, "");
}

#[test]
fn a_hundred_thousand_lines_that_do_not_count_are_told_in_a_few_words() {
    let logknock = Logknock::new().door("");
    let daemon = logknock.follow("");
    let genuine = logknock.packet("6.6.6.6", 7000);
    let (_, rest) = genuine.split_once(' ').unwrap();
    let rest = rest.trim_end();
    let now = rfc3339(clock::wall_now());
    let kinds = [
        format!("{now} {}", rest.replace("TTL", "TLT")),
        format!("{now} {}", rest.replace("lk-4f9a1c7e", "lk-00000000")),
        format!("{now} {}", rest.replace("kernel:", "sshd[1]:")),
        format!("{now} {}", rest.replace("OUT=", "OUT=eth1")),
        format!("{now} {}", rest.replace("SRC=6.6.6.6", "SRC=224.0.0.1")),
        format!("{now} {}", rest.replace("PROTO=TCP", "PROTO=47")),
        format!(
            "{now} gw1 kernel: message repeated 2 times: [ {}]",
            rest.split_once("kernel: ").unwrap().1
        ),
        format!("1999-01-01T00:00:00Z {rest}"),
        format!("2099-01-01T00:00:00Z {rest}"),
        format!("{now} {rest}"),
        "x".repeat(9_000),
    ];
    let mut storm = String::new();
    // The long ones are few: they are as many bytes as all others together.
    for number in 0..100_000 {
        let kind = if number % 1_000 == 0 { 10 } else { number % 10 };
        writeln!(storm, "{}", kinds[kind]).unwrap();
    }
    logknock.append("kern.log", &storm);
    logknock.knock(OWNER);
    logknock.awaits_act(&format!("open {OWNER}"));
    daemon.signal(Signal::TERM);
    let said = daemon.says_to_its_end();
    let warnings: Vec<&String> = said.iter().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() <= 4, "{warnings:#?}");
    assert!(said.len() < 20, "{said:#?}");
    let mut times = HashMap::new();
    for line in &said {
        let words = line
            .split_once(" count=")
            .map_or(line.as_str(), |(head, _)| head);
        *times.entry(words).or_insert(0) += 1;
    }
    assert!(times.values().all(|&count| count == 1), "{times:#?}");
    assert!(
        !said
            .iter()
            .any(|line| line.contains("6.6.6.6") || line.contains("4f9a1c7e"))
    );
}
