//! What was opened is closed, whatever happens to the daemon.

use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::need::long;
use crate::process::eventually;
use crate::turn::Ring;

const KNOCKS: [Hit; 2] = [Hit::Tcp(7000), Hit::Tcp(9000)];

#[test]
fn after_kill_9_a_restart_closes_at_the_deadline() {
    let hold = Duration::from_secs(4);
    let Some((lab, daemon, opened)) = open("4s") else {
        return;
    };
    daemon.kill();
    let _daemon = Daemon::restart(&lab);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Open);
    eventually("ssh closes", hold + PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Closed
    });
    // The kernel's clock of the log and this one may differ by a little.
    assert!(
        opened.elapsed() + Duration::from_millis(100) >= hold,
        "closed too early"
    );
}

#[test]
fn after_kill_9_a_restart_behind_the_deadline_closes_at_once() {
    let hold = Duration::from_secs(2);
    let Some((lab, daemon, opened)) = open("2s") else {
        return;
    };
    daemon.kill();
    thread::sleep(hold.saturating_sub(opened.elapsed()) + Duration::from_millis(200));
    assert_eq!(
        ssh(&lab.near, Family::V4),
        Reach::Open,
        "nobody was there to close"
    );
    let _daemon = Daemon::restart(&lab);
    let limit = Duration::from_secs(2);
    eventually("ssh closes", limit, || {
        ssh(&lab.near, Family::V4) == Reach::Closed
    });
}

#[test]
fn a_stop_closes_what_is_open() {
    let Some((lab, daemon, _)) = open("60s") else {
        return;
    };
    assert!(daemon.stop().success());
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
}

#[test]
fn a_restart_opens_nothing_from_lines_of_before() {
    let Some((lab, daemon, _)) = open("60s") else {
        return;
    };
    daemon.stop();
    for _ in 0..if long() { 20 } else { 2 } {
        let mut daemon = Daemon::restart(&lab);
        daemon.settle(&lab, &lab.near, Family::V4);
        assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
        daemon.kill();
    }
}

/// A lab whose door has just been opened by the near client, and when it knocked.
fn open(hold: &str) -> Option<(Lab, Daemon, Instant)> {
    let lab = Lab::new(Ring::Shared, &[])?;
    firewall::nft(&lab);
    let daemon = Daemon::start(&lab, "kmsg", &nft_door("7000, 9000", "3s", hold));
    let knocked = Instant::now();
    lab.hit(&lab.near, Family::V4, &KNOCKS);
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
    Some((lab, daemon, knocked))
}
