//! The sources themselves, with the real kernel behind them: what is refused, and what is lost.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Output;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use logknock::source::{Closed, Report, unix};
use rustix::process::{Signal, kill_process};

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::journald::Journald;
use crate::kmsg::Kmsg;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::{self, eventually};
use crate::rsyslog::{Module, Rsyslog};
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

#[test]
fn the_kernels_log_is_read_no_more_often_after_a_right_knock() {
    let Some(lab) = Lab::new(Ring::Alone, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let daemon = Daemon::start(&lab, "kmsg", &nft_door(DOOR, "20s", "3s"));
    let waits = || daemon.waits("kmsg-0");
    let before = waits();
    assert!(before > 0, "there is such a thread");
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000)]);
    eventually("it reads the line", PATIENCE, || waits() > before);
    // Lines of others may come meanwhile.
    eventually("it is woken by lines alone", PATIENCE, || {
        lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000)]);
        let before = waits();
        thread::sleep(Duration::from_millis(500));
        waits() < before + 10
    });
}

const JOURNAL: [&str; 3] = ["systemd-journald", "journalctl", "nsenter"];

#[test]
fn knocks_count_though_journalctl_is_killed_and_the_journal_rotated_between_them() {
    let Some(lab) = Lab::new(Ring::Shared, &JOURNAL) else {
        return;
    };
    firewall::nft(&lab);
    let journal = Journald::start(&lab);
    let doors = nft_door(DOOR, "20s", "3s");
    let daemon = Daemon::start_beside(&lab, &journal.beside(), "journald", &doors);
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(7000)]);
    for child in daemon.journalctls() {
        kill_process(child, Signal::KILL).expect("it runs");
    }
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(8000)]);
    journal.rotate();
    lab.hit(&lab.near, Family::V4, &[Hit::Tcp(9000)]);
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}

#[test]
fn no_journalctl_outlives_a_daemon_that_is_killed_while_nothing_is_logged() {
    let Some(lab) = Lab::new(Ring::Shared, &JOURNAL) else {
        return;
    };
    let journal = Journald::start(&lab);
    let doors = nft_door(DOOR, "3s", "3s");
    let daemon = Daemon::start_beside(&lab, &journal.beside(), "journald", &doors);
    let journalctls = daemon.journalctls();
    assert_eq!(journalctls.len(), 1, "{journalctls:?}");
    daemon.kill();
    eventually("journalctl ends", Duration::from_secs(1), || {
        !journalctls.iter().any(|it| process::runs(*it))
    });
}

#[test]
fn what_users_send_to_journald_opens_nothing() {
    let Some(lab) = Lab::new(Ring::Shared, &JOURNAL) else {
        return;
    };
    firewall::nft(&lab);
    let mut kernel = Kmsg::from_now();
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Tcp));
    let genuine = kernel.lines(&lab.prefix);
    assert_eq!(genuine.len(), 3, "{genuine:#?}");
    let journal = Journald::start(&lab);
    let doors = nft_door(DOOR, "10s", "3s");
    let mut daemon = Daemon::start_beside(&lab, &journal.beside(), "journald", &doors);
    let mut stream = UnixStream::connect(journal.socket("stdout")).expect("anybody may connect");
    // Identifier, unit, priority, prefixes, and to syslog, to the kernel's log, to the console.
    stream
        .write_all(b"kernel\n\n4\n0\n0\n1\n0\n")
        .expect("journald listens");
    let datagrams = UnixDatagram::unbound().expect("a socket");
    for line in &genuine {
        stream
            .write_all(format!("{line}\n").as_bytes())
            .expect("journald listens");
        let native = format!(
            "PRIORITY=4\nSYSLOG_FACILITY=0\nSYSLOG_IDENTIFIER=kernel\n_TRANSPORT=kernel\nMESSAGE={line}\n"
        );
        for (socket, datagram) in [
            ("socket", native),
            ("dev-log", format!("<4>Jan  1 00:00:00 kernel: {line}")),
        ] {
            datagrams
                .send_to(datagram.as_bytes(), journal.socket(socket))
                .expect("journald listens");
        }
    }
    // All of it, and the copies in the kernel's log, before what is next.
    eventually("journald has it all", PATIENCE, || {
        let copies = journal.everything();
        genuine
            .iter()
            .all(|line| copies.matches(line.trim_end()).count() >= 4)
    });
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
}

#[test]
fn a_journal_that_may_not_be_read_is_refused() {
    let Some(lab) = Lab::new(Ring::Shared, &JOURNAL) else {
        return;
    };
    let locked = "set -e; mount -t tmpfs none /run/log
        [ ! -d /var/log/journal ] || mount -t tmpfs none /var/log/journal
        dir=/run/log/journal/$(cat /etc/machine-id); mkdir -p \"$dir\"
        touch \"$dir/system.journal\"; chmod 0 \"$dir/system.journal\"
        exec setpriv --bounding-set=-dac_override,-dac_read_search \"$@\"";
    let done = start_and_end(&lab, locked, "journald");
    assert_eq!(done.status.code(), Some(77), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("group systemd-journal"), "{said}");
}

#[test]
fn a_machine_without_journalctl_is_told() {
    let Some(lab) = Lab::new(Ring::Shared, &JOURNAL) else {
        return;
    };
    let done = start_and_end(
        &lab,
        "mount -t tmpfs none /usr/bin && exec \"$@\"",
        "journald",
    );
    assert_eq!(done.status.code(), Some(69), "{done:?}");
}

#[test]
fn the_kernel_names_the_sender_to_the_socket_and_only_root_counts() {
    let Some(lab) = Lab::new(Ring::Shared, &["logger"]) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let open_to_all = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("the owner sets the mode");
    };
    open_to_all(dir.path(), 0o755);
    let path = dir.path().join("syslog");
    let (sender, reports) = channel();
    let bound = unix::bound(path.clone(), None).expect("a socket");
    let handle = unix::spawn(0, bound, move |report| {
        sender.send(report).map_err(|_| Closed)
    })
    .expect("a socket");
    // More than logknock ever allows: the kernel's word alone must do.
    open_to_all(&path, 0o666);
    let mut heard = Vec::new();
    for (uid, words) in [
        (65_534, vec!["--inh-caps=-all", "--bounding-set=-all"]),
        (0, vec![]),
    ] {
        let mut logger = process::command("setpriv");
        logger
            .arg(format!("--reuid={uid}"))
            .arg("--clear-groups")
            .args(words)
            .args([
                "logger",
                "--rfc3164",
                "-p",
                "user.info",
                "-t",
                "kernel",
                "-u",
            ])
            .arg(&path)
            .arg(&lab.prefix);
        process::finish(&mut logger);
        heard.push(loop {
            match reports.recv_timeout(PATIENCE).expect("a report") {
                Report::Lines(_) => break "a line",
                Report::Rejected { reason, .. } => break reason.as_str(),
                _ => {}
            }
        });
    }
    assert_eq!(heard, ["peer", "a line"]);
    drop(handle);
}

#[test]
fn a_packet_counts_once_through_kmsg_and_a_log_with_stamps() {
    counts_once_through_kmsg_and_rsyslog(Module::Imklog);
}

#[test]
fn a_packet_counts_once_through_kmsg_and_a_log_without_stamps() {
    counts_once_through_kmsg_and_rsyslog(Module::Imkmsg);
}

fn counts_once_through_kmsg_and_rsyslog(module: Module) {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let mut syslog = Rsyslog::start(&lab, module);
    let sources = format!("kmsg\", \"{}", syslog.log().display());
    let doors = nft_door("7000, \"8000:udp\", \"8000:udp\", 9000", "20s", "2s");
    let mut daemon = Daemon::start(&lab, &sources, &doors);
    for family in [Family::V4, Family::V6] {
        let too_few = [Hit::Tcp(7000), Hit::Udp(8000), Hit::Tcp(9000)];
        lab.hit(&lab.near, family, &too_few);
        syslog.catch_up(&lab);
        daemon.settle(&lab, &lab.near, family);
        assert_eq!(ssh(&lab.near, family), Reach::Closed);
        let right = [
            Hit::Tcp(7000),
            Hit::Udp(8000),
            Hit::Udp(8000),
            Hit::Tcp(9000),
        ];
        lab.hit(&lab.near, family, &right);
        eventually("ssh opens", PATIENCE, || {
            ssh(&lab.near, family) == Reach::Open
        });
    }
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
