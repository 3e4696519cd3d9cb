//! The log is rotated by the real logrotate while knocks keep coming: each counts once.
//!
//! Every knock comes from an address of its own (`198.51.100.0/24` belongs to the near client), and
//! a door of one knock writes the address down, so a lost and a doubled one are both seen.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::firewall;
use crate::lab::{Family, Lab};
use crate::logrotate::{How, Logrotate};
use crate::need::long;
use crate::process::eventually;
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

const DOOR: u16 = 7001;
/// Time enough to read a line that is in the file.
const READING_TIME: Duration = Duration::from_millis(100);
const ADDRESSES: std::ops::Range<u8> = 1..251;

#[test]
fn rotation_by_rename_under_load_counts_every_knock_once() {
    let Some(mut load) = Load::new(How::Create) else {
        return;
    };
    let traffic = load.run();
    assert_eq!(load.counted(), tally(traffic.senders()));
}

#[test]
fn copytruncate_under_load_loses_no_knock_but_those_in_its_gap_and_doubles_none() {
    let Some(mut load) = Load::new(How::CopyTruncate) else {
        return;
    };
    let traffic = load.run();
    let counted = load.counted();
    let times = |counts: &BTreeMap<_, _>, sender| counts.get(sender).copied().unwrap_or(0);
    let sure = tally(traffic.senders_clear_of_rotations());
    for (sender, sent) in &tally(traffic.senders()) {
        let counted = times(&counted, sender);
        assert!(counted <= *sent, "{sender}: {sent} sent, {counted} counted");
        let sure = times(&sure, sender);
        assert!(
            counted >= sure,
            "{sender}: {sure} could not be missed, {counted} counted"
        );
    }
    let certain: usize = sure.values().sum();
    assert!(
        certain > traffic.knocks.len() / 3,
        "most knocks are clear of rotations"
    );
}

/// What was done to the log, and when.
struct Traffic {
    knocks: Vec<(Ipv4Addr, Instant)>,
    rotations: Vec<(Instant, Instant)>,
}

impl Traffic {
    fn senders(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.knocks.iter().map(|(sender, _)| *sender)
    }

    /// Without the knocks whose lines were written while logrotate copied and cut the file, or so
    /// shortly before that nobody can be blamed for not having read them: those lines are lost
    /// between the copy and the cut.
    fn senders_clear_of_rotations(&self) -> impl Iterator<Item = Ipv4Addr> {
        let clear = |at: Instant| {
            let mut gaps = self.rotations.iter();
            gaps.all(|(begin, end)| at + READING_TIME < *begin || at > *end)
        };
        let knocks = self.knocks.iter().filter(move |(_, at)| clear(*at));
        knocks.map(|(sender, _)| *sender)
    }
}

struct Load {
    daemon: Daemon,
    rotation: Logrotate,
    syslog: Rsyslog,
    counted: PathBuf,
    lab: Lab,
}

impl Load {
    fn new(how: How) -> Option<Self> {
        let lab = Lab::new(Ring::Shared, &["rsyslogd", "logrotate"])?;
        firewall::nft(&lab);
        lab.near.ip("route add local 198.51.100.0/24 dev lo");
        lab.server.ip("route add 198.51.100.0/24 via 192.0.2.2");
        let syslog = Rsyslog::start(&lab, Module::Imkmsg);
        let counted = lab.path("counted");
        let door = format!(
            "[door.count]\nsequence = [{DOOR}]\n\
             start_command = [\"/bin/sh\", \"-c\", \"echo $LOGKNOCK_IP >> {}\"]\n",
            counted.display()
        );
        let source = syslog.log().display().to_string();
        Some(Self {
            daemon: Daemon::start(&lab, &source, &door),
            rotation: Logrotate::new(&lab, how),
            syslog,
            counted,
            lab,
        })
    }

    /// Knocks from every address and rotates at the same time. Afterwards everything that was
    /// logged has been decided.
    fn run(&mut self) -> Traffic {
        let (near, rotation) = (&self.lab.near, &self.rotation);
        let knocking = || {
            let rounds = if long() { 40 } else { 4 };
            let mut knocks = Vec::new();
            for source_port in (40_000..).take(rounds) {
                for sender in ADDRESSES.map(|last| Ipv4Addr::new(198, 51, 100, last)) {
                    knocks.push((sender, Instant::now()));
                    near.syn_from((sender, source_port).into(), Family::V4.server(DOOR));
                    thread::sleep(Duration::from_millis(2));
                }
            }
            knocks
        };
        let traffic = thread::scope(|scope| {
            let knocking = scope.spawn(knocking);
            let mut rotations = Vec::new();
            while !knocking.is_finished() {
                let begin = Instant::now();
                rotation.rotate();
                rotations.push((begin, Instant::now()));
                thread::sleep(4 * READING_TIME);
            }
            Traffic {
                knocks: knocking.join().expect("all knocks are sent"),
                rotations,
            }
        });
        self.syslog.catch_up(&self.lab);
        self.daemon.settle(&self.lab, &self.lab.near, Family::V4);
        self.wait_for_commands(traffic.knocks.len());
        traffic
    }

    /// Commands of different addresses may run at once and end in any order: waits until all have
    /// run, or none has for a second.
    fn wait_for_commands(&self, all: usize) {
        let mut last = (0, Instant::now());
        eventually("commands end", Duration::from_secs(60), || {
            let now = self.counted().values().sum();
            if now != last.0 {
                last = (now, Instant::now());
            }
            now >= all || last.1.elapsed() > Duration::from_secs(1)
        });
    }

    fn counted(&self) -> BTreeMap<Ipv4Addr, usize> {
        let text = fs::read_to_string(&self.counted).unwrap_or_default();
        // The last line may be half written when commands are still running.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        tally(whole.lines().map(|line| line.parse().expect("an address")))
    }
}

fn tally(addresses: impl Iterator<Item = Ipv4Addr>) -> BTreeMap<Ipv4Addr, usize> {
    let mut counts = BTreeMap::new();
    for address in addresses {
        *counts.entry(address).or_default() += 1;
    }
    counts
}
