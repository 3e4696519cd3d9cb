//! knockd and logknock side by side: one knockd.conf, the same packets.
//!
//! In: a knockd.conf without `[options]`, whose commands write with [`NOTE`]. Out: what each of the
//! two has opened. A door of its own for each of two addresses stands behind the others: `fence`
//! shows that both have seen everything, and `anchor` holds an attempt for ever, so that it is the
//! oldest, whose end would make knockd forget all others.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Output;
use std::thread;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::knockd::Knockd;
use crate::lab::{Lab, PATIENCE};
use crate::process::{eventually, finish};
use crate::wire::{Kind, SYN, Sender, Shot};

/// The server's address on the link where knockd listens.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Whose address a program of the knockers' host has.
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ANCHOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const FENCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
const ANCHOR_PORT: u16 = 61_001;
const FENCE_PORT: u16 = 61_003;

/// Addresses that are free to knock.
pub(crate) const KNOCKERS: [Ipv4Addr; 10] = [
    address(5),
    address(6),
    address(7),
    address(8),
    address(9),
    address(10),
    address(11),
    address(12),
    address(13),
    address(14),
];

const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// The command of a door called `name`: each of the two has a file of its own.
pub(crate) fn note(lab: &Lab, name: &str) -> String {
    let file = lab.path("opened");
    format!(
        "echo {name} %IP% >> {}.${{LOGKNOCK_IP:+ours}}",
        file.display()
    )
}

/// Both, and who knocks at them.
#[derive(Debug)]
pub(crate) struct Beside<'l> {
    lab: &'l Lab,
    conf: [PathBuf; 2],
    /// knockd and logknock; none only while they are started again.
    both: Option<(Knockd, Daemon)>,
    sender: Sender,
    next_port: u16,
    fences: usize,
}

/// What one of the two has opened: `door address`, sorted.
pub(crate) type Opened = Vec<String>;

impl<'l> Beside<'l> {
    /// Starts both on `doors`. With `anchored`, knockd never forgets anybody.
    pub(crate) fn start(lab: &'l Lab, doors: &str, anchored: bool) -> Self {
        Self::start_each(lab, [doors, doors], anchored)
    }

    /// The same with doors of its own for each, knockd's first: they cannot share what they write.
    pub(crate) fn start_each(lab: &'l Lab, doors: [&str; 2], anchored: bool) -> Self {
        log_everything(lab);
        for end in ["", "ours"] {
            let _ = fs::remove_file(opened_by(lab, end));
        }
        let conf = |name: &str, doors: &str| {
            let text = format!(
                "[options]\n{doors}\n\
             [anchor]\nsequence = {ANCHOR_PORT},{}\nseq_timeout = 86400\ntcpflags = syn\ncommand = :\n\
             [fence]\nsequence = {FENCE_PORT}\ntcpflags = syn\ncommand = {}\n",
                ANCHOR_PORT + 1,
                note(lab, "fence"),
            );
            lab.write(name, &text)
        };
        let [theirs, ours] = doors;
        let conf = [conf("knockd.conf", theirs), conf("knockd-ours.conf", ours)];
        let both = (
            Knockd::on(lab, &conf[0]),
            Daemon::on_knockd_conf(lab, &conf[1]),
        );
        let mut from = vec![ANCHOR, FENCE];
        from.extend(KNOCKERS);
        for address in &from {
            let add = format!("addr replace {address}/28 dev eth0");
            lab.near.ip(&add);
        }
        let mut beside = Self {
            lab,
            conf,
            both: Some(both),
            sender: Sender::new(&lab.near, &from, SERVER),
            next_port: 1024,
            fences: 0,
        };
        if anchored {
            beside.send(ANCHOR, ANCHOR_PORT, Kind::Tcp(SYN));
        }
        beside
    }

    /// Kills both with all their processes, and starts them again.
    pub(crate) fn crash(&mut self) {
        let (knockd, daemon) = self.both.take().expect("both run");
        knockd.kill();
        daemon.kill();
        let daemon = Daemon::on_knockd_conf(self.lab, &self.conf[1]);
        self.both = Some((Knockd::on(self.lab, &self.conf[0]), daemon));
    }

    /// Whether knockd has ended by itself.
    pub(crate) fn knockd_has_ended(&mut self) -> bool {
        self.both
            .as_mut()
            .is_some_and(|(knockd, _)| knockd.has_ended())
    }

    /// Sends a packet from a port that was not used before.
    pub(crate) fn send(&mut self, from: Ipv4Addr, port: u16, kind: Kind) {
        self.next_port = self.next_port.checked_add(1).unwrap_or(1025);
        self.send_from(SocketAddrV4::new(from, self.next_port), port, kind);
    }

    /// Sends a packet. Not too fast: knockd must not lose one for want of room.
    pub(crate) fn send_from(&self, from: SocketAddrV4, port: u16, kind: Kind) {
        self.sender.send(Shot { from, port, kind });
        thread::sleep(Duration::from_millis(2));
    }

    /// What knockd and logknock have opened, once both have seen everything.
    pub(crate) fn opened(&mut self) -> [Opened; 2] {
        self.fences += 1;
        self.send(FENCE, FENCE_PORT, Kind::Tcp(SYN));
        let fences = self.fences;
        let count = |end| {
            let text = fs::read_to_string(opened_by(self.lab, end)).unwrap_or_default();
            text.lines()
                .filter(|line| line.starts_with("fence "))
                .count()
        };
        for (who, end) in [("knockd", ""), ("logknock", "ours")] {
            eventually(&format!("{who} has seen everything"), PATIENCE, || {
                count(end) == fences
            });
        }
        ["", "ours"].map(|end| self.noted(end))
    }

    /// What logknock has opened so far.
    pub(crate) fn opened_by_logknock(&self) -> Opened {
        self.noted("ours")
    }

    /// What the commands of both have written so far.
    pub(crate) fn noted_by_both(&self) -> [Opened; 2] {
        ["", "ours"].map(|end| self.noted(end))
    }

    /// Runs a line of bash on the knockers' host, whose own address is [`NEAR`]; how it ends is not looked at.
    pub(crate) fn run(&self, line: &str) -> Output {
        let mut shell = self.lab.near.command("bash");
        shell.args(["-c", line]).output().expect("bash runs")
    }

    fn noted(&self, end: &str) -> Opened {
        let text = fs::read_to_string(opened_by(self.lab, end)).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with("fence "));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

fn opened_by(lab: &Lab, end: &str) -> PathBuf {
    lab.path(format!("opened.{end}"))
}

/// Every packet is logged, whatever its flags, and nothing answers.
fn log_everything(lab: &Lab) {
    let rules = format!(
        "table inet lab\ndelete table inet lab\ntable inet lab {{ chain input {{ \
         type filter hook input priority filter; policy drop; \
         iif lo accept; meta l4proto {{ icmp, ipv6-icmp }} accept; \
         meta l4proto {{ tcp, udp }} log prefix \"{}\"; }}; }}\n",
        lab.prefix
    );
    let file = lab.write("everything.nft", &rules);
    finish(lab.server.command("nft").arg("-f").arg(file));
}
