//! How long a packet takes until its line is handed over, one packet at a time.
//!
//! Out: the median and the 95th percentile on stderr. The long form measures enough for a document.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use logknock::source::journal::Journalctl;
use logknock::source::{Closed, Handle, LoggedPacket, Refusal, Report, journal, kmsg, nflog};

use crate::firewall;
use crate::journald::Journald;
use crate::lab::{Family, Lab, PATIENCE};
use crate::need::long;
use crate::process;
use crate::turn::Ring;

/// Long enough for nothing of one packet to hurry the next.
const APART: Duration = Duration::from_millis(700);

#[test]
fn kmsg_hands_every_line_over_and_this_is_how_soon() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    measure(&lab, "kmsg", |sink| kmsg::spawn(0, kmsg::open()?, sink));
}

#[test]
fn nflog_hands_every_packet_over_and_this_is_how_soon() {
    const GROUP: u16 = 11;
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    measure(&lab, "nflog", |sink| {
        let rule = format!(
            "insert rule inet lab input tcp flags syn log prefix \"{}\" group {GROUP}",
            lab.prefix
        );
        process::finish(lab.server.command("nft").arg(rule));
        nflog::spawn(0, lab.server.inside(|| nflog::open(GROUP))?, sink)
    });
}

#[test]
fn journald_hands_every_line_over_and_this_is_how_soon() {
    let tools = ["systemd-journald", "journalctl", "nsenter"];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    let journald = Journald::start(&lab);
    let [nsenter, namespace, end] = journald.beside();
    let script = format!("#!/bin/sh\nexec {nsenter} {namespace} {end} journalctl \"$@\"\n");
    let journalctl = lab.write("journalctl", &script);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&journalctl, executable).expect("the owner sets the mode");
    let journalctl = Journalctl::at(journalctl).expect("this boot has a number");
    let start = Box::new(move |wanted: &_| journalctl.start(wanted));
    let options = journal::Options::new().expect("this boot has a number");
    measure(&lab, "journald", |sink| {
        journal::spawn(0, start, options, sink)
    });
}

/// As much of a LOG line as is looked for.
fn as_line(packet: &LoggedPacket) -> Vec<u8> {
    let packet = packet.packet.as_packet();
    let (prefix, iif) = (packet.prefix.escape_ascii(), packet.iif.escape_ascii());
    let port = packet.headers.ports.map_or(0, |ports| ports.dst);
    format!("{prefix}IN={iif} DPT={port} \n").into_bytes()
}

type Sink = Box<dyn FnMut(Report) -> Result<(), Closed> + Send>;

fn measure(lab: &Lab, name: &str, spawn: impl FnOnce(Sink) -> Result<Handle, Refusal>) {
    firewall::nft(lab);
    let (sender, lines) = channel();
    let sink = move |report| match report {
        Report::Lines(batch) => sender
            .send((Instant::now(), batch.bytes))
            .map_err(|_| Closed),
        Report::Packets { packets, .. } => sender
            .send((Instant::now(), packets.iter().flat_map(as_line).collect()))
            .map_err(|_| Closed),
        _ => Ok(()),
    };
    let handle = spawn(Box::new(sink)).expect("it is followed");
    let mut took: Vec<Duration> = (0..if long() { 60 } else { 5 })
        .map(|number| {
            thread::sleep(APART);
            let port = 10_000 + number;
            let sent = Instant::now();
            lab.near.syn(Family::V4.server(port));
            let ours = format!("{}IN=veth-near ", lab.prefix);
            let port = format!(" DPT={port} ");
            loop {
                let (at, bytes) = lines.recv_timeout(PATIENCE).expect("a line");
                let text = String::from_utf8_lossy(&bytes);
                if text
                    .lines()
                    .any(|line| line.contains(&ours) && line.contains(&port))
                {
                    return at - sent;
                }
            }
        })
        .collect();
    drop(handle);
    took.sort();
    let at = |percent| took[took.len() * percent / 100];
    eprintln!(
        "{name}: {} packets, median {:?}, 95th percentile {:?}",
        took.len(),
        at(50),
        at(95)
    );
}
