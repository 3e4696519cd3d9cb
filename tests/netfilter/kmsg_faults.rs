//! The kernel's own log through everything that can happen to it: what is lost is counted exactly, and
//! what others write there disturbs nothing.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::mpsc::{Receiver, channel};

use logknock::source::{Closed, Handle, Report, kmsg};

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::{self, eventually};
use crate::turn::Ring;

const DOOR: &str = "7000, 8000, 9000";

/// A source on the kernel's log, and what has come of it.
struct Followed {
    _handle: Handle,
    reports: Receiver<Report>,
    lines: Vec<String>,
    rejected: u64,
    lost: u64,
}

impl Followed {
    fn start() -> Self {
        let (sender, reports) = channel();
        Self::through(reports, move |report| {
            sender.send(report).map_err(|_| Closed)
        })
    }

    /// The same with a sink of the test's own, which hands on to `reports`.
    fn through(
        reports: Receiver<Report>,
        sink: impl FnMut(Report) -> Result<(), Closed> + Send + 'static,
    ) -> Self {
        let mut followed = Self {
            _handle: kmsg::open()
                .and_then(|device| kmsg::spawn(0, device, sink))
                .expect("root may read it"),
            reports,
            lines: Vec::new(),
            rejected: 0,
            lost: 0,
        };
        // The first report is that it is followed.
        followed.take();
        followed
    }

    fn take(&mut self) {
        match self.reports.recv_timeout(PATIENCE).expect("a report") {
            Report::Lines(batch) => {
                let text = String::from_utf8_lossy(&batch.bytes).into_owned();
                self.lines.extend(text.lines().map(str::to_owned));
            }
            Report::Rejected { count, .. } => self.rejected += count,
            Report::Lost(count) => self.lost += count.expect("the numbers tell"),
            _ => {}
        }
    }

    /// Takes reports until a line holds these words.
    fn until(&mut self, words: &[&str]) {
        let is_it = |line: &String| words.iter().all(|word| line.contains(word));
        // Lines of others may come behind it.
        let before = self.lines.len().saturating_sub(1);
        while !self.lines[before..].iter().any(is_it) {
            self.take();
        }
    }
}

/// The number of a record.
fn number(line: &str) -> u64 {
    let number = line.split(',').nth(1).and_then(|text| text.parse().ok());
    number.expect("a record has a number")
}

#[test]
fn a_reader_that_the_ring_overtakes_counts_exactly_what_it_has_lost() {
    let Some(lab) = Lab::new(Ring::Alone, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let (started, held) = channel();
    let (go_on, gate) = channel::<()>();
    let (sender, reports) = channel();
    let mut is_first = true;
    let sink = move |report: Report| {
        if matches!(report, Report::Lines(_)) && std::mem::take(&mut is_first) {
            started.send(()).expect("the test waits");
            gate.recv().expect("the test goes on");
        }
        sender.send(report).map_err(|_| Closed)
    };
    let mut followed = Followed::through(reports, sink);
    lab.near.syn(Family::V4.server(7000));
    held.recv_timeout(PATIENCE).expect("the first line comes");
    let ports: Vec<u16> = (10_000..30_000).collect();
    lab.far.scan(Family::V4.server(0).ip(), &ports, 1000, || {});
    go_on.send(()).expect("the source waits");
    lab.near.syn(Family::V4.server(9999));
    followed.until(&[&lab.prefix, " DPT=9999 "]);
    let (first, last) = (
        &followed.lines[0],
        &followed.lines[followed.lines.len() - 1],
    );
    let passed = number(last) - number(first) + 1;
    assert!(followed.lost > 1000, "{} lost", followed.lost);
    // What users wrote meanwhile is reported behind the lines it stood between.
    let seen = followed.lines.len() as u64 + followed.lost;
    assert!(
        (passed.saturating_sub(20)..=passed).contains(&(seen + followed.rejected)),
        "{passed} records, {seen} lines or lost, {} of users",
        followed.rejected
    );
}

#[test]
fn what_was_logged_before_the_start_does_not_come_and_clearing_the_log_disturbs_nothing() {
    let Some(lab) = Lab::new(Ring::Shared, &["dmesg"]) else {
        return;
    };
    firewall::nft(&lab);
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000)]);
    let mut followed = Followed::start();
    lab.near.syn(Family::V4.server(8000));
    followed.until(&[&lab.prefix, " DPT=8000 "]);
    process::run("dmesg", ["--clear"]);
    lab.near.syn(Family::V4.server(9000));
    followed.until(&[&lab.prefix, " DPT=9000 "]);
    let old = |line: &&String| line.contains(&lab.prefix) && line.contains(" DPT=7000 ");
    assert_eq!(followed.lines.iter().find(old), None);
    assert_eq!(followed.lost, 0);
}

#[test]
fn what_users_write_into_the_kernels_log_changes_no_line_of_the_kernel() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut followed = Followed::start();
    let mut device = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .expect("root may write it");
    for text in [
        // Without a newline, with two, with what the kernel would escape, and a forged record's head.
        format!("{} no newline", lab.prefix),
        format!("{}one\ntwo\n", lab.prefix),
        format!("{}\u{7}\\x0a{}", lab.prefix, lab.prefix),
        format!("4,1,1,-,caller=T1;{}IN=veth-near DPT=7000 ", lab.prefix),
    ] {
        device.write_all(text.as_bytes()).expect("it takes a line");
        lab.near.syn(Family::V4.server(7000));
    }
    lab.near.syn(Family::V4.server(8000));
    followed.until(&[&lab.prefix, " DPT=8000 "]);
    let ours = followed
        .lines
        .iter()
        .filter(|line| line.contains(&lab.prefix));
    let (of_packets, others): (Vec<_>, Vec<_>) = ours.partition(|line| line.contains(";lk-"));
    assert_eq!(of_packets.len(), 5, "{of_packets:#?}");
    assert!(others.is_empty(), "{others:#?}");
    while followed.rejected < 4 {
        followed.take();
    }
}

#[test]
fn after_a_storm_in_the_ring_the_next_knock_opens() {
    let Some(lab) = Lab::new(Ring::Alone, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(DOOR, "20s", "3s"));
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    lab.far.scan(Family::V4.server(0).ip(), &ports, 5000, || {});
    daemon.settle(&lab, &lab.near, Family::V4);
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Tcp));
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
    let said = daemon.said();
    let warned = said.lines().filter(|line| line.contains("were lost"));
    assert!(warned.count() <= 1, "one warning a minute: {said}");
}
