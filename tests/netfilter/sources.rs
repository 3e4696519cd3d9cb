//! The sources themselves, with the real kernel behind them: what is refused, and what is lost.

use std::process::Output;

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::{self, eventually};
use crate::turn::Ring;

const DOOR: &str = "7000, 8000, 9000";

#[test]
fn kmsg_is_refused_without_the_right_to_read_it_and_says_which() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    let locked = "mount -t tmpfs none /dev && touch /dev/kmsg && chmod 0 /dev/kmsg && \
                  exec setpriv --bounding-set=-dac_override,-dac_read_search \"$@\"";
    let done = start_and_end(&lab, locked, "kmsg");
    assert_eq!(done.status.code(), Some(77), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    for word in ["CAP_SYSLOG", "kernel.dmesg_restrict", "ProtectKernelLogs="] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn kmsg_is_refused_where_there_is_none() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    let done = start_and_end(&lab, "mount -t tmpfs none /dev && exec \"$@\"", "kmsg");
    assert_eq!(done.status.code(), Some(69), "{done:?}");
}

#[test]
fn a_ring_that_overtakes_the_daemon_drops_what_is_in_flight_and_is_told() {
    let Some(lab) = Lab::new(Ring::Alone, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let mut daemon = Daemon::start(&lab, "kmsg", &nft_door(DOOR, "20s", "3s"));
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000)]);
    daemon.settle(&lab, &lab.far, Family::V4);
    daemon.pause();
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    lab.far.scan(Family::V4.server(0).ip(), &ports, 1000, || {});
    daemon.go_on();
    eventually("logknock says that lines were lost", PATIENCE, || {
        daemon.said().contains("lines were lost")
    });
    lab.hit(&lab.near, Family::V4, &[8000, 9000].map(Hit::Tcp));
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Tcp));
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}

/// Starts logknock with a shell's `script` around it, in a mount namespace of its own, and waits for
/// its end.
fn start_and_end(lab: &Lab, script: &str, source: &str) -> Output {
    let text = format!(
        "[log]\nprefix = \"{}\"\n[daemon]\nephemeral = true\n{}",
        lab.prefix,
        nft_door(DOOR, "3s", "3s")
    );
    process::command("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(env!("CARGO_BIN_EXE_logknock"))
        .arg("--config")
        .arg(lab.write("logknock.toml", &text))
        .args(["--follow", source])
        .output()
        .expect("it runs")
}
