//! The laboratory itself: that the kernel, rsyslogd, journald, logrotate, nft, iptables, nc and
//! knockd do in it what the other tests take for granted.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use crate::firewall;
use crate::host::Reach;
use crate::journald::Journald;
use crate::kmsg::Kmsg;
use crate::knockd::Knockd;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::logrotate::{How, Logrotate};
use crate::need::long;
use crate::process::eventually;
use crate::rsyslog::{Module, Rsyslog};
use crate::scan::unlucky_order;
use crate::turn::Ring;

const IPTABLES: [&str; 2] = ["iptables", "ip6tables"];

#[test]
fn iptables_logs_what_it_drops_for_both_families() {
    let Some(lab) = Lab::new(Ring::Shared, &IPTABLES) else {
        return;
    };
    firewall::iptables(&lab, IPTABLES);
    let mut kernel = Kmsg::from_now();
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000), Hit::Udp(8000)]);
    lab.hit(&lab.near, Family::V6, &[Hit::Tcp(9000)]);
    let lines = kernel.lines(&lab.prefix);
    let words = [
        ["SRC=192.0.2.2 ", "PROTO=TCP ", "DPT=7000 "],
        ["SRC=192.0.2.2 ", "PROTO=UDP ", "DPT=8000 "],
        ["SRC=2001:0db8:0000:000a:", "PROTO=TCP ", "DPT=9000 "],
    ];
    assert_eq!(lines.len(), words.len(), "{lines:#?}");
    for (line, words) in lines.iter().zip(words) {
        assert!(
            line.starts_with(&format!("{}IN=veth-near OUT= ", lab.prefix)),
            "{line}"
        );
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn nft_log_writes_the_same_line_as_iptables() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut kernel = Kmsg::from_now();
    lab.hit(&lab.far, Family::V4, &[Hit::Tcp(7000)]);
    let lines = kernel.lines(&lab.prefix);
    let [line] = lines.as_slice() else {
        panic!("one line: {lines:#?}")
    };
    assert!(
        line.starts_with(&format!("{}IN=veth-far OUT= MAC=", lab.prefix)),
        "{line}"
    );
    assert!(
        line.contains(" SRC=192.0.2.18 DST=192.0.2.1 LEN=60 "),
        "{line}"
    );
}

#[test]
fn ssh_is_closed_until_an_address_is_accepted_and_others_stay_out() {
    let Some(lab) = Lab::new(Ring::Shared, &IPTABLES) else {
        return;
    };
    firewall::iptables(&lab, IPTABLES);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    let accept = "-w -I INPUT -s 192.0.2.2 -p tcp --dport 22 -j ACCEPT";
    let mut command = lab.server.command("iptables");
    crate::process::finish(command.args(accept.split(' ')));
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Open);
    assert_eq!(ssh(&lab.far, Family::V4), Reach::Closed);
    assert_eq!(ssh(&lab.near, Family::V6), Reach::Closed);
}

#[test]
fn rsyslogd_with_imklog_writes_the_kernels_lines_for_root_only() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd", "iptables", "ip6tables"]) else {
        return;
    };
    firewall::iptables(&lab, IPTABLES);
    let mut syslog = Rsyslog::start(&lab, Module::Imklog);
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000)]);
    syslog.catch_up(&lab);
    let text = syslog.text();
    let ours: Vec<_> = text
        .lines()
        .filter(|line| line.contains(&lab.prefix))
        .collect();
    assert_eq!(ours.len(), 1, "{ours:#?}");
    assert!(ours[0].contains(" kernel: "), "{ours:#?}");
    let mode = syslog
        .log()
        .metadata()
        .expect("the log is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn journald_in_its_own_mount_namespace_shows_the_kernels_lines() {
    let Some(lab) = Lab::new(Ring::Shared, &["systemd-journald", "journalctl", "nsenter"]) else {
        return;
    };
    firewall::nft(&lab);
    let journal = Journald::start(&lab);
    lab.hit(&lab.near, Family::V6, &[Hit::Udp(8000)]);
    eventually("the packet is in the journal", PATIENCE, || {
        let text = journal.text();
        text.lines()
            .any(|line| line.starts_with(&lab.prefix) && line.contains(" DPT=8000 "))
    });
}

#[test]
fn a_blocking_client_repeats_its_syn_from_the_same_port() {
    let Some(lab) = Lab::new(Ring::Shared, &["nc"]) else {
        return;
    };
    firewall::nft(&lab);
    let mut kernel = Kmsg::from_now();
    let done = lab
        .near
        .command("nc")
        .args(["-w", "2", "192.0.2.1", "7000"])
        .output();
    assert!(!done.expect("nc runs").status.success());
    let lines = kernel.lines(&lab.prefix);
    let sources: BTreeSet<_> = lines
        .iter()
        .filter_map(|line| line.split(' ').find(|word| word.starts_with("SPT=")))
        .collect();
    assert!(lines.len() >= 2, "{lines:#?}");
    assert_eq!(sources.len(), 1, "{lines:#?}");
}

#[test]
fn rotation_by_rename_and_hup_loses_no_line_of_rsyslogd() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd", "logrotate"]) else {
        return;
    };
    firewall::nft(&lab);
    let mut syslog = Rsyslog::start(&lab, Module::Imkmsg);
    let rotation = Logrotate::new(&lab, How::Create);
    for port in 1000..1040 {
        lab.near.syn(Family::V4.server(port));
        if port % 10 == 0 {
            rotation.rotate();
        }
    }
    // The file's old name must not be written to for ever: one more HUP, whatever logrotate did.
    syslog.reopen();
    syslog.catch_up(&lab);
    let text = rotation.surviving();
    for port in 1000..1040 {
        let lines = text
            .lines()
            .filter(|line| line.contains(&lab.prefix) && line.contains(&format!(" DPT={port} ")));
        assert_eq!(lines.count(), 1, "port {port}");
    }
}

#[test]
fn copytruncate_writes_no_line_of_rsyslogd_twice() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd", "logrotate"]) else {
        return;
    };
    firewall::nft(&lab);
    let mut syslog = Rsyslog::start(&lab, Module::Imkmsg);
    let rotation = Logrotate::new(&lab, How::CopyTruncate);
    for port in 1000..1040 {
        lab.near.syn(Family::V4.server(port));
        if port % 10 == 0 {
            syslog.catch_up(&lab);
            rotation.rotate();
        }
    }
    syslog.catch_up(&lab);
    let text = rotation.surviving();
    for port in 1000..1040 {
        assert_eq!(lines_to(&lab, &text, port), 1, "port {port}");
    }
}

#[test]
fn knockd_opens_on_the_right_sequence_and_not_on_another() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    firewall::nft(&lab);
    let knockd = Knockd::start(&lab, "7000,8000:udp,9000");
    // The wrong order ends without the first knock, which knockd would hold against the right one.
    let wrong = [Hit::Tcp(7000), Hit::Tcp(9000), Hit::Udp(8000)];
    let right = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];
    lab.hit(&lab.near, Family::V4, &wrong);
    lab.hit(&lab.near, Family::V4, &right);
    eventually("knockd opens", PATIENCE, || knockd.opened() > 0);
    assert_eq!(knockd.opened(), 1);
}

#[test]
fn a_scan_in_random_order_fools_knockd() {
    let Some(lab) = Lab::new(Ring::Alone, &["knockd", "rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let mut syslog = Rsyslog::start(&lab, Module::Imkmsg);
    let knockd = Knockd::start(&lab, "7000,8000,9000");
    let rounds = if long() { 10 } else { 1 };
    for round in 1..=rounds {
        let mut kernel = Kmsg::from_now();
        let begun = Instant::now();
        let mut logged = 0;
        let order = unlucky_order(&[7000, 8000, 9000]);
        lab.near.scan(Family::V4.server(0).ip(), &order, 100, || {
            logged += kernel.lines(&lab.prefix).len();
            thread::sleep(Duration::from_millis(5));
        });
        syslog.catch_up(&lab);
        eprintln!(
            "scan {round}: {logged} lines, {} overruns, {:?}",
            kernel.overruns(),
            begun.elapsed()
        );
    }
    eventually("knockd opens", PATIENCE, || knockd.opened() > 0);
}

/// How many lines of the lab's rules are about a packet to this port.
fn lines_to(lab: &Lab, log: &str, port: u16) -> usize {
    let port = format!(" DPT={port} ");
    log.lines()
        .filter(|line| line.contains(&lab.prefix) && line.contains(&port))
        .count()
}
