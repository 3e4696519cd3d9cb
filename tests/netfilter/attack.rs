//! What an attacker does: scans, and lines that the kernel did not write.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::kmsg::Kmsg;
use crate::knockd::Knockd;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::need::long;
use crate::process::eventually;
use crate::rsyslog::{Module, Rsyslog};
use crate::scan::unlucky_order;
use crate::turn::Ring;

const SEQUENCE: [u16; 3] = [7000, 8000, 9000];

#[test]
fn a_scan_that_meets_the_ports_in_order_fools_knockd_and_not_logknock() {
    let Some(lab) = Lab::new(Ring::Alone, &["knockd", "rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let syslog = Rsyslog::start(&lab, Module::Imklog);
    let knockd = Knockd::start(&lab, "7000,8000,9000");
    let source = syslog.log().display().to_string();
    let mut daemon = Daemon::start(&lab, &source, &nft_door("7000, 8000, 9000", "10s", "3s"));
    for _ in 0..if long() { 20 } else { 2 } {
        let order = unlucky_order(&SEQUENCE);
        lab.near.scan(Family::V4.server(0).ip(), &order, 100, || {
            thread::sleep(Duration::from_millis(5));
        });
        daemon.settle(&lab, &lab.near, Family::V4);
        assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    }
    eventually("knockd opens", PATIENCE, || knockd.opened() > 0);
    knock_until_open(&lab);
}

#[test]
fn lines_that_root_writes_to_dev_kmsg_open_nothing() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut kernel = Kmsg::from_now();
    lab.hit(&lab.near, Family::V4, &SEQUENCE.map(Hit::Tcp));
    let genuine = kernel.lines(&lab.prefix);
    assert_eq!(genuine.len(), 3, "{genuine:#?}");
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door("7000, 8000, 9000", "3s", "3s"));
    // The kernel forces another facility than its own on all of them.
    for head in ["<4>", "<0>", "", "<30>kernel[0]: ", "<4>kernel: "] {
        for line in &genuine {
            let mut device = OpenOptions::new()
                .write(true)
                .open("/dev/kmsg")
                .expect("a device");
            device
                .write_all(format!("{head}{line}\n").as_bytes())
                .expect("root may write");
        }
    }
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    knock_until_open(&lab);
}

fn knock_until_open(lab: &Lab) {
    lab.hit(&lab.near, Family::V4, &SEQUENCE.map(Hit::Tcp));
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}
