//! `nflog:GROUP` with the real kernel: who may bind, what comes, and what is lost.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::mpsc::channel;
use std::time::Duration;

use logknock::source::{Closed, Refusal, Report, nflog};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::lab::{Family, Hit, Lab, PATIENCE, ssh};
use crate::process::{self, eventually};
use crate::turn::Ring;

const DOOR: &str = "7000, 8000, 9000";
const GROUP: u16 = 5;
/// A source that reports nothing for so long has read all there is.
const QUIET: Duration = Duration::from_millis(500);

/// A lab whose firewall logs, and hands what it logs to the group too.
fn lab(ring: Ring) -> Option<Lab> {
    let lab = Lab::new(ring, &[])?;
    firewall::nft(&lab);
    for packets in ["meta l4proto udp", "tcp flags & (fin|syn|rst|ack) == syn"] {
        let rule = format!(
            "insert rule inet lab input {packets} log prefix \"{}\" group {GROUP}",
            lab.prefix
        );
        process::finish(lab.server.command("nft").arg(rule));
    }
    Some(lab)
}

fn opens(lab: &Lab, family: Family) {
    lab.hit(&lab.near, family, &[7000, 8000, 9000].map(Hit::Tcp));
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, family) == Reach::Open
    });
}

#[test]
fn a_door_opens_for_the_packets_of_a_group() {
    let Some(lab) = lab(Ring::Shared) else {
        return;
    };
    let source = format!("nflog:{GROUP}");
    // The kernel tells the number of the interface, and the confined daemon asks for its name.
    let door = nft_door(DOOR, "20s", "20s") + "\ninterface = \"veth-near\"\n";
    let _daemon = Daemon::start(&lab, &source, &door);
    lab.hit(&lab.near, Family::V4, &[7000, 8001, 9000].map(Hit::Tcp));
    opens(&lab, Family::V4);
    opens(&lab, Family::V6);
    let status = Daemon::status(&lab);
    assert!(status.contains("nflog:5  kernel"), "{status}");
}

#[test]
fn the_same_packet_by_log_and_by_nflog_counts_once() {
    let Some(lab) = lab(Ring::Shared) else {
        return;
    };
    let sources = format!("kmsg\", \"nflog:{GROUP}");
    // Any packet that counts twice resets it: each step would be followed by itself.
    let mut daemon = Daemon::start(&lab, &sources, &nft_door(DOOR, "20s", "20s"));
    opens(&lab, Family::V4);
    opens(&lab, Family::V6);
    daemon.settle(&lab, &lab.far, Family::V4);
    eventually("each packet has come twice", PATIENCE, || {
        Daemon::status(&lab).contains("duplicate")
    });
}

#[test]
fn a_group_that_another_program_has_is_told_apart_from_a_missing_right() {
    let Some(lab) = lab(Ring::Shared) else {
        return;
    };
    let bind = || nflog::open(GROUP).err();
    let first = lab.server.inside(|| nflog::open(GROUP));
    assert!(first.is_ok(), "{first:?}");
    let refusal = lab.server.inside(bind);
    assert!(matches!(refusal, Some(Refusal::NflogTaken)), "{refusal:?}");
    let refusal = lab.server.inside(|| {
        let mut sets = capabilities(None).expect("this thread has some");
        sets.effective -= CapabilitySet::NET_ADMIN;
        set_capabilities(None, sets).expect("it may give one up");
        bind()
    });
    assert!(matches!(refusal, Some(Refusal::NflogDenied)), "{refusal:?}");
    drop(first);
    assert!(lab.server.inside(bind).is_none(), "it is free again");
}

#[test]
fn init_chooses_a_free_group_in_a_network_namespace_and_doctor_names_one_that_is_taken() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    let config = lab.path("init/logknock.toml");
    let told = |words: &[&str]| {
        let mut command = lab.server.command(env!("CARGO_BIN_EXE_logknock"));
        command.args(words).arg("--config").arg(&config);
        let done = command.output().expect("it runs");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let _lower = lab.server.inside(|| nflog::open(5)).expect("it is free");
    told(&["init"]);
    let written = fs::read_to_string(&config).expect("init has written it");
    assert!(written.contains("sources = [\"nflog:6\"]\n"), "{written}");
    let taken = "another program reads nflog:6";
    assert!(!told(&["doctor"]).contains(taken));
    let other = lab.server.inside(|| nflog::open(6)).expect("it is free");
    assert!(told(&["doctor"]).contains(taken));
    drop(other);
    assert!(!told(&["doctor"]).contains(taken));
}

#[test]
fn what_a_full_socket_loses_is_counted_exactly() {
    let Some(lab) = lab(Ring::Alone) else {
        return;
    };
    let socket = lab
        .server
        .inside(|| nflog::open(GROUP))
        .expect("it is free");
    let (started, held) = channel();
    let (go_on, gate) = channel::<()>();
    let (sender, reports) = channel();
    let mut is_first = true;
    let _handle = nflog::spawn(0, socket, move |report: Report| {
        if matches!(report, Report::Packets { .. }) && std::mem::take(&mut is_first) {
            started.send(()).expect("the test waits");
            gate.recv().expect("the test goes on");
        }
        sender.send(report).map_err(|_| Closed)
    });
    let mut sent = 1;
    lab.near.syn(Family::V4.server(1));
    held.recv_timeout(PATIENCE).expect("the first packet comes");
    let ports: Vec<u16> = (10_000..60_000).collect();
    for _ in 0..4 {
        lab.far.scan(Family::V4.server(0).ip(), &ports, 1000, || {});
        sent += ports.len() as u64;
    }
    go_on.send(()).expect("the source waits");
    let (mut came, mut lost) = (0, 0);
    eventually("every packet came or was counted", PATIENCE, || {
        while let Ok(report) = reports.recv_timeout(QUIET) {
            match report {
                Report::Packets { packets, .. } => came += packets.len() as u64,
                Report::Lost(count) => lost += count.unwrap_or(0),
                _ => {}
            }
        }
        // How many were lost at the end, only the number of a later packet tells.
        let is_done = came + lost == sent;
        if !is_done {
            lab.near.syn(Family::V4.server(9999));
            sent += 1;
        }
        is_done
    });
    assert!(lost > 1000, "{lost} lost");
}

/// A door in a user and network namespace of an ordinary user's own, knocked at from another one.
const ROOTLESS: &str = r#"
set -e
ip link set lo up
unshare --net sleep 60 &
peer=$!
trap 'kill $peer' EXIT
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add here type veth peer name there netns $peer
ip addr add 192.0.2.1/28 dev here
ip link set here up
nsenter --target $peer --net ip addr add 192.0.2.2/28 dev there
nsenter --target $peer --net ip link set there up
nft -f rules.nft
./logknock --config logknock.toml --state-dir state 2>said &
daemon=$!
trap 'kill $daemon $peer' EXIT
until grep -q following said; do sleep 0.02; done
nsenter --target $peer --net ./logknock knock 192.0.2.1 7000 8000 9000 --delay 50ms
until nft list set inet logknock open4 | grep -q 192.0.2.2; do sleep 0.02; done
echo opened
while nft list set inet logknock open4 | grep -q 192.0.2.2; do sleep 0.02; done
echo closed
"#;

#[test]
fn a_door_opens_and_closes_where_nobody_is_root() {
    const NOBODY: u32 = 65_534;
    let Some(lab) = Lab::new(Ring::Shared, &["nsenter", "timeout"]) else {
        return;
    };
    let dir = lab.path("rootless");
    fs::create_dir(&dir).expect("a directory");
    for (name, text, mode) in [
        ("run", ROOTLESS, 0o700),
        (
            "rules.nft",
            "table inet logknock {\n\
             set open4 { type ipv4_addr; flags timeout; }\n\
             chain in { type filter hook input priority -150;\n\
             tcp flags & (fin|syn|rst|ack) == syn log prefix \"lk-4f9a1c7e: \" group 7\n}\n}\n",
            0o600,
        ),
        (
            "logknock.toml",
            "[log]\nsources = [\"nflog:7\"]\nprefix = \"lk-4f9a1c7e: \"\n[door.ssh]\n\
             sequence = [7000, 8000, 9000]\ncmd_timeout = 2\n\
             start_command = [\"/usr/sbin/nft\", \"add\", \"element\", \"inet\", \"logknock\", \"open4\", \"{ %IP% }\"]\n\
             stop_command = [\"/usr/sbin/nft\", \"delete\", \"element\", \"inet\", \"logknock\", \"open4\", \"{ %IP% }\"]\n",
            0o600,
        ),
    ] {
        let path = dir.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        chown(&path, Some(NOBODY), Some(NOBODY)).expect("root gives files away");
    }
    fs::copy(env!("CARGO_BIN_EXE_logknock"), dir.join("logknock")).expect("a copy");
    chown(&dir, Some(NOBODY), Some(NOBODY)).expect("root gives directories away");
    // It must be able to reach its directory, and may read nothing else there.
    fs::set_permissions(lab.dir(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let mut command = process::command("setpriv");
    command.current_dir(&dir).args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "timeout",
        "30",
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "run",
    ]);
    let done = command.output().expect("setpriv runs");
    let said = fs::read_to_string(dir.join("said")).unwrap_or_default();
    let printed = String::from_utf8_lossy(&done.stdout);
    let ended_well = done.status.success() && printed.ends_with("opened\nclosed\n");
    assert!(ended_well, "{done:?}\n{said}");
}
