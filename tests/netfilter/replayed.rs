//! A `totp` knock that somebody has captured, sent again: at once, from elsewhere, under its owner's
//! address, and to a daemon that was killed meanwhile.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::{Host, Reach};
use crate::kmsg::Kmsg;
use crate::lab::{Family, Lab, PATIENCE, ssh};
use crate::process::{eventually, finish, run};
use crate::turn::Ring;

const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// A day: all that follows is in one step, but at midnight, which the skew covers.
const STEP: &str = "86400";
const OWNER: &str = "192.0.2.2";
const OTHER: &str = "192.0.2.18";

#[test]
fn a_captured_totp_knock_opens_to_nobody_at_once_from_elsewhere_spoofed_or_after_kill_9() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    // Who stands on the far link may write the owner's address into packets.
    lab.far.ip("route add local 192.0.2.2/32 dev lo");
    let daemon = start(&lab);
    let mut wire = Kmsg::from_now();
    knock(&lab);
    eventually("the owner's door opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
    let captured = ports(&wire.lines(&lab.prefix));
    assert_eq!(captured.len(), 4, "ssh was tried when the door was open");

    let thieves = [(&lab.near, OWNER), (&lab.far, OTHER), (&lab.far, OWNER)];
    for (host, address) in thieves {
        let before = refused(&lab, address);
        replay(&lab, host, address, &captured);
        eventually("the replay is refused", PATIENCE, || {
            refused(&lab, address) > before
        });
        assert_eq!(ssh(&lab.far, Family::V4), Reach::Closed);
    }
    daemon.kill();

    let mut daemon = Daemon::restart(&lab);
    eventually("the owner's door closes", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Closed
    });
    for (host, address) in thieves {
        let before = refused(&lab, address);
        replay(&lab, host, address, &captured);
        eventually("the replay is refused", PATIENCE, || {
            refused(&lab, address) > before
        });
        assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
        assert_eq!(ssh(&lab.far, Family::V4), Reach::Closed);
    }
    assert_eq!(events(&lab, "open", OWNER), 1);
    assert_eq!(events(&lab, "open", OTHER), 0);

    // The door is not broken: the next step's knock opens it.
    replay(&lab, &lab.far, OTHER, &next_ports(&lab));
    eventually("the next knock opens", PATIENCE, || {
        ssh(&lab.far, Family::V4) == Reach::Open
    });
    daemon.must_run();
}

fn start(lab: &Lab) -> Daemon {
    lab.write("key", &format!("{KEY}\n"));
    let door = nft_door("1", "5s", "2s").replace(
        "sequence = [1]",
        &format!("totp = {{ secret = \"{KEY}\", step = \"24h\" }}"),
    );
    let events = event_log(lab);
    let daemon = format!("[daemon]\nevent_log = \"{}\"\n", events.display());
    Daemon::start(lab, "kmsg", &format!("{daemon}{door}"))
}

/// Knocks with the client, by the clock.
fn knock(lab: &Lab) {
    let mut client = lab.near.command(env!("CARGO_BIN_EXE_logknock"));
    client.args(["knock", "192.0.2.1", "--step", STEP, "--totp"]);
    finish(client.arg(lab.path("key")));
}

/// The ports of the next step, which the skew lets in already.
fn next_ports(lab: &Lab) -> Vec<u16> {
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    let at = (now.as_secs() + STEP.parse::<u64>().expect("a number")).to_string();
    let key = lab.path("key");
    let key = key.to_str().expect("a plain path");
    let line = ["totp", "--step", STEP, "--at", &at, "--secret-file", key];
    let shown = run(env!("CARGO_BIN_EXE_logknock"), line);
    let ports = shown.lines().next().expect("a line of ports");
    let ports = ports.split(' ').map(|port| port.parse().expect("a port"));
    ports.collect()
}

/// Sends SYNs to these ports from `address`, each when the kernel has logged the one before.
fn replay(lab: &Lab, host: &Host, address: &str, ports: &[u16]) {
    let source: IpAddr = address.parse().expect("an address");
    for port in ports {
        let mut kernel = Kmsg::from_now();
        host.syn_from(SocketAddr::new(source, 0), Family::V4.server(*port));
        let words = [format!(" SRC={address} "), format!(" DPT={port} ")];
        eventually("the kernel logs the packet", PATIENCE, || {
            let lines = kernel.lines(&lab.prefix);
            let is_it = |line: &String| words.iter().all(|word| line.contains(word.as_str()));
            lines.iter().any(is_it)
        });
    }
}

/// The knocks' ports, as a listener has them.
fn ports(lines: &[String]) -> Vec<u16> {
    let port = |line: &String| line.split(" DPT=").nth(1)?.split(' ').next()?.parse().ok();
    let ports = lines.iter().filter_map(port);
    ports.filter(|port| *port != 22).collect()
}

fn event_log(lab: &Lab) -> std::path::PathBuf {
    lab.record("events.jsonl")
}

/// How many events of this kind there are of `address`.
fn events(lab: &Lab, kind: &str, address: &str) -> usize {
    let text = fs::read_to_string(event_log(lab)).unwrap_or_default();
    let words = [
        format!("\"event\":\"{kind}\""),
        format!("\"src\":\"{address}\""),
    ];
    let is_it = |line: &&str| words.iter().all(|word| line.contains(word.as_str()));
    text.lines().filter(is_it).count()
}

fn refused(lab: &Lab, address: &str) -> usize {
    events(lab, "refused", address)
}
