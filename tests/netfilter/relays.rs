//! Lines that somebody else brings: rsyslogd over a socket, busybox's logread over a FIFO, and three
//! sources at once.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use logknock::source::{Refusal, unix};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tempfile::TempDir;

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::journald::Journald;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::{self, Running, eventually, find};
use crate::rsyslog::{self, Module, Rsyslog};
use crate::turn::{Ring, Turn};

const DOOR: &str = "7000, 8000, 9000";
const NOBODY: u32 = 65_534;

fn knock_opens(lab: &Lab) {
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Tcp));
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
}

#[test]
fn the_real_rsyslogd_sends_knocks_to_the_socket_as_root() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let dir = open_directory();
    let socket = dir.path().join("syslog");
    let source = format!("unix:{}", socket.display());
    let _daemon = Daemon::start(&lab, &source, &nft_door(DOOR, "20s", "3s"));
    let _relay = relay(&lab, &socket, "");
    knock_opens(&lab);
}

#[test]
fn a_rsyslogd_that_is_not_root_is_heard_as_relay_user_and_only_then() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    firewall::nft(&lab);
    let dir = open_directory();
    let socket = dir.path().join("syslog");
    let doors = nft_door(DOOR, "20s", "3s");
    // One more key behind the source, in front of the end of the array.
    let source = format!(
        "unix:{}\"]\nrelay_user = \"nobody\"\nudp_peers = [\"127.0.0.1",
        socket.display()
    );
    let daemon = Daemon::start(&lab, &source, &doors);
    let owner = std::fs::metadata(&socket).expect("the socket").uid();
    assert_eq!(owner, NOBODY);
    let _relay = relay(
        &lab,
        &socket,
        "$PrivDropToUser nobody\n$PrivDropToGroup nogroup\n",
    );
    knock_opens(&lab);
    daemon.stop();
    let source = format!("unix:{}", socket.display());
    let mut daemon = Daemon::start(&lab, &source, &doors);
    // Whoever can reach the socket is still not heard.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).expect("it is ours");
    lab.hit(&lab.near, Family::V4, &[7000, 8000, 9000].map(Hit::Tcp));
    eventually("it is counted", PATIENCE, || {
        lab.hit(&lab.far, Family::V4, &[Hit::Tcp(7000)]);
        daemon.must_run();
        let status = Daemon::status(&lab);
        status.contains("peer ")
    });
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
}

#[test]
fn a_relays_socket_that_a_killed_run_left_is_replaced_though_it_cannot_be_reached() {
    let Some(_lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    let dir = open_directory();
    let path = dir.path().join("syslog");
    let earlier = UnixDatagram::bind(&path).expect("a socket");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
    std::os::unix::fs::chown(&path, Some(NOBODY), None).expect("root gives it away");
    let bound = || {
        let mut sets = capabilities(None).expect("this thread has some");
        sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, sets).expect("it may give them up");
        unix::bound(path.clone(), Some(NOBODY)).map(drop)
    };
    let bound = || std::thread::scope(|scope| scope.spawn(bound).join()).expect("it ends");
    let refusal = bound();
    assert!(matches!(refusal, Err(Refusal::SocketTaken)), "{refusal:?}");
    drop(earlier);
    bound().expect("nobody has it");
}

/// A directory that every user may enter.
fn open_directory() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
    dir
}

/// An rsyslogd that sends what the kernel logs to a socket, with `more` configuration.
fn relay(lab: &Lab, socket: &Path, more: &str) -> Running {
    let text = format!(
        "{more}module(load=\"imkmsg\")\nmodule(load=\"omuxsock\")\n$OMUxSockSocket {}\n\
         kern.* :omuxsock:\n",
        socket.display()
    );
    let configuration = lab.write("relay.conf", &text);
    std::fs::set_permissions(&configuration, PermissionsExt::from_mode(0o644)).expect("it is ours");
    let argv: [OsString; 6] = [
        find("rsyslogd").expect("need() found it").into(),
        "-n".into(),
        "-f".into(),
        configuration.into(),
        "-i".into(),
        lab.path("relay.pid").into(),
    ];
    rsyslog::started(&argv, Module::Imkmsg)
}

/// What OpenWrt runs: klogd reads the kernel's log, syslogd keeps it in memory, logread follows that.
const OPENWRT: &str = "set -e
mount -t tmpfs none /dev
mknod -m 666 /dev/null c 1 3
busybox syslogd -n -C64 &
busybox klogd -n &
until busybox logread >/dev/null 2>&1; do sleep 0.05; done
busybox logread -f >\"$1\"";

#[test]
fn knocks_come_through_busybox_logread_and_a_fifo_and_its_end_is_the_daemons() {
    let Some(lab) = Lab::new(Ring::Shared, &["busybox", "mkfifo"]) else {
        return;
    };
    firewall::nft(&lab);
    let _turn = Turn::at_proc_kmsg();
    let fifo = lab.path("fifo");
    process::run("mkfifo", [&fifo]);
    let argv = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--ipc",
        "--pid",
        "--fork",
    ];
    let argv = argv
        .into_iter()
        .chain(["--kill-child=KILL", "sh", "-c", OPENWRT, "sh"]);
    let argv = argv.map(OsString::from).chain([fifo.clone().into()]);
    let logread = Running::start("logread", argv, |_| {});
    let reads = format!("exec \"$@\" <{}", fifo.display());
    let words = ["sh", "-c", &reads, "sh"].map(str::to_owned);
    let daemon = Daemon::start_beside(&lab, &words, "-", &nft_door(DOOR, "20s", "1h"));
    knock_opens(&lab);
    logread.signal(Signal::KILL);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
}

#[test]
fn a_packet_counts_once_through_kmsg_a_file_and_journald() {
    let tools = ["rsyslogd", "systemd-journald", "journalctl", "nsenter"];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    firewall::nft(&lab);
    let journal = Journald::start(&lab);
    let mut syslog = Rsyslog::start(&lab, Module::Imkmsg);
    let sources = format!("kmsg\", \"{}\", \"journald", syslog.log().display());
    let doors = nft_door("7000, \"8000:udp\", \"8000:udp\", 9000", "20s", "2s");
    let mut daemon = Daemon::start_beside(&lab, &journal.beside(), &sources, &doors);
    let caught_up = |syslog: &mut Rsyslog, daemon: &mut Daemon| {
        let mark = lab.mark();
        syslog.catch_up(&lab);
        eventually("journald has it", PATIENCE, || {
            Lab::has_mark(&journal.text(), &mark)
        });
        daemon.settle(&lab, &lab.near, Family::V4);
    };
    let (tcp, udp) = (Hit::Tcp, Hit::Udp);
    lab.hit(&lab.near, Family::V4, &[tcp(7000), udp(8000), tcp(9000)]);
    caught_up(&mut syslog, &mut daemon);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    let right = [tcp(7000), udp(8000), udp(8000), tcp(9000)];
    lab.hit(&lab.near, Family::V4, &right);
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
    caught_up(&mut syslog, &mut daemon);
    let opened = daemon.said().matches("open door=ssh ").count();
    assert_eq!(opened, 1, "{}", daemon.said());
}
