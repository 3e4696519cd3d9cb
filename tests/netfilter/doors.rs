//! Doors open for those who know the sequence, and only for as long as they should.

use std::time::{Duration, Instant};

use crate::daemon::{Daemon, iptables_door, nft_door};
use crate::firewall;
use crate::host::{Host, Reach};
use crate::journald::Journald;
use crate::knockd::Knockd;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::eventually;
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

const IPTABLES: [&str; 2] = ["iptables", "ip6tables"];
const MIXED: &str = "7000, \"8000:udp\", 9000";
const KNOCKS: [Hit; 3] = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];
const HOLD: Duration = Duration::from_secs(3);

#[test]
fn the_right_sequence_opens_ssh_for_its_sender_alone_until_cmd_timeout() {
    let Some(lab) = Lab::new(Ring::Shared, &["iptables", "ip6tables", "rsyslogd"]) else {
        return;
    };
    firewall::iptables(&lab, IPTABLES);
    let syslog = Rsyslog::start(&lab, Module::Imklog);
    let source = syslog.log().display().to_string();
    let _daemon = Daemon::start(&lab, &source, &iptables_door(MIXED, "3s", "3s"));
    opens_for_near_alone(&lab, Family::V4);
    assert!(!firewall::listed(&lab, Family::V4).contains("192.0.2.2"));
}

#[test]
fn the_right_sequence_opens_ssh_over_ipv6_too() {
    let Some(lab) = Lab::new(Ring::Shared, &["iptables", "ip6tables", "rsyslogd"]) else {
        return;
    };
    firewall::iptables(&lab, IPTABLES);
    let syslog = Rsyslog::start(&lab, Module::Imkmsg);
    let source = syslog.log().display().to_string();
    let _daemon = Daemon::start(&lab, &source, &iptables_door(MIXED, "3s", "3s"));
    opens_for_near_alone(&lab, Family::V6);
    assert!(!firewall::listed(&lab, Family::V6).contains("2001:db8:0:a::2"));
}

#[test]
fn nft_log_and_nft_set_elements_work_the_same_over_ipv4() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let _daemon = Daemon::start(&lab, "kmsg", &nft_door(MIXED, "3s", "3s"));
    opens_for_near_alone(&lab, Family::V4);
}

#[test]
fn nft_log_and_nft_set_elements_work_the_same_over_ipv6() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let _daemon = Daemon::start(&lab, "kmsg", &nft_door(MIXED, "3s", "3s"));
    opens_for_near_alone(&lab, Family::V6);
}

#[test]
fn the_right_sequence_opens_when_the_journal_is_followed() {
    let tools = ["systemd-journald", "journalctl", "nsenter"];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    firewall::nft(&lab);
    let journal = Journald::start(&lab);
    let doors = nft_door(MIXED, "3s", "3s");
    let _daemon = Daemon::start_beside(&lab, &journal.beside(), "journald", &doors);
    opens_for_near_alone(&lab, Family::V4);
}

#[test]
fn knocks_in_the_wrong_order_do_not_open() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(MIXED, "3s", "3s"));
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        lab.hit(&lab.near, Family::V4, &order.map(|knock| KNOCKS[knock]));
        daemon.settle(&lab, &lab.near, Family::V4);
        assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed, "{order:?}");
    }
    knock_until_open(&lab, &lab.near, Family::V4);
}

#[test]
fn the_right_ports_with_the_wrong_protocol_do_not_open() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(MIXED, "3s", "3s"));
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Tcp));
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Udp));
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    knock_until_open(&lab, &lab.near, Family::V4);
}

#[test]
fn knocks_that_take_longer_than_seq_timeout_do_not_open() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(MIXED, "2s", "3s"));
    lab.hit(&lab.near, Family::V4, &KNOCKS[..2]);
    // The time itself is what is tested.
    std::thread::sleep(Duration::from_millis(2200));
    lab.hit(&lab.near, Family::V4, &KNOCKS[2..]);
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    knock_until_open(&lab, &lab.near, Family::V4);
}

#[test]
fn a_blocking_client_that_repeats_its_syns_opens() {
    let Some(lab) = Lab::new(Ring::Shared, &["nc"]) else {
        return;
    };
    firewall::nft(&lab);
    let _daemon = Daemon::start(&lab, "kmsg", &nft_door("7000, 8000, 9000", "15s", "5s"));
    for port in ["7000", "8000", "9000"] {
        let mut nc = lab.near.command("nc");
        let done = nc.args(["-w", "2", "192.0.2.1", port]).status();
        assert!(!done.expect("nc runs").success(), "{port} is closed");
    }
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}

#[test]
fn knockd_beside_opens_on_the_same_packets() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    firewall::nft(&lab);
    let knockd = Knockd::start(&lab, "7000,8000:udp,9000");
    let _daemon = Daemon::start(&lab, "kmsg", &nft_door(MIXED, "3s", "3s"));
    knock_until_open(&lab, &lab.near, Family::V4);
    eventually("knockd opens", PATIENCE, || knockd.opened() == 1);
}

fn opens_for_near_alone(lab: &Lab, family: Family) {
    assert_eq!(ssh(&lab.near, family), Reach::Closed);
    let before = Instant::now();
    knock_until_open(lab, &lab.near, family);
    assert_eq!(ssh(&lab.far, family), Reach::Closed);
    eventually("ssh closes", HOLD + PATIENCE, || {
        ssh(&lab.near, family) == Reach::Closed
    });
    // The kernel's clock of the log and this one may differ by a little.
    assert!(
        before.elapsed() + Duration::from_millis(100) >= HOLD,
        "closed too early"
    );
}

fn knock_until_open(lab: &Lab, client: &Host, family: Family) {
    lab.hit(client, family, &KNOCKS);
    eventually("ssh opens", PATIENCE, || ssh(client, family) == Reach::Open);
}
