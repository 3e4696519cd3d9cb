//! The packages of `logknock-fleet`: what is in them, and its unit as an administrator sets it up by `docs/fleet.md`, under
//! a real systemd, with a real server and another gateway.

use std::fs;

use crate::booted::{Booted, Files};
use crate::debian::debian;
use crate::lab::PATIENCE;
use crate::need::need;
use crate::packages::{PREFIX, build, files, make_root, path};
use crate::process::{command, eventually, find, finish, run};

/// Where the setup is described.
const GUIDE: &str = include_str!("../../docs/fleet.md");
/// The daemon of the first gateway.
const CONFIG: &str = r#"
[log]
sources = ["/var/log/knock.log"]
prefix = "@PREFIX@"

[firewall]
backend = "nft"

[door.ssh]
sequence = [7101, 8202, 9303]
opens = ["22:tcp"]
cmd_timeout = "1h"
fleet = "open"
"#;
/// The other gateway: no unit, and a door of its own.
const PEER: &str = r#"
[log]
sources = ["/peer/knock.log"]
prefix = "lk-31f0c2aa: "

[door.ssh]
sequence = [7101, 8202, 9303]
start_command = "true"
stop_command = "true"
cmd_timeout = "1h"
fleet = "open"

"#;

/// The lines of shell in the guide that put a gateway's files into their places.
fn steps(gateway: &str) -> String {
    let (_, rest) = GUIDE
        .split_once("```sh\n   install ")
        .expect("they are there");
    let (block, _) = rest.split_once("```").expect("a block has an end");
    format!("set -e\ninstall {block}").replace("gw1/", &format!("/fleet/{gateway}/"))
}

#[test]
fn the_agents_deb_starts_hardened_joins_the_fleet_opens_by_a_grant_and_leaves_no_file() {
    let tools = [
        "debootstrap",
        "dpkg-deb",
        "dpkg-shlibdeps",
        "lintian",
        "nats-server",
    ];
    let Some(put) = Files::new(&tools) else {
        return;
    };
    let Some(root) = debian() else { return };
    put.put_package("new/logknock.deb", "deb", &[]);
    put.put_package("new/fleet.deb", "fleet-deb", &[]);
    let deb = put.place("new/fleet.deb");
    run(
        "lintian",
        ["--fail-on", "error,warning", "--allow-root", path(&deb)],
    );
    let server = find("nats-server").expect("need() found it");
    fs::copy(server, put.place("new/nats-server")).expect("a copy");
    put.put("new/logknock.toml", CONFIG.replace("@PREFIX@", PREFIX));
    put.put("new/peer.toml", PEER);
    put.put("new/steps", steps("gw1"));
    let system = put.boot(&root, "basic.target");
    let before = files(&system);

    // Installed, it waits for a certificate.
    system.run("dpkg -i /new/logknock.deb /new/fleet.deb");
    system.run("test \"$(systemctl is-enabled logknock-fleet)\" = enabled");
    system.run("test \"$(systemctl is-active logknock-fleet)\" = inactive");
    system.run("id logknock-fleet && logknock-fleet --version");

    start_server_and_peer(&system);

    // Set up as the guide says.
    system.run(
        "install -m 600 /new/logknock.toml /etc/logknock/ && install -m 600 /dev/null /var/log/knock.log
         sh /new/steps && logknock rules --for nft | nft -f - && systemctl restart logknock",
    );
    system.run("systemctl start logknock-fleet");
    let status = || {
        let said = system.try_run("logknock status --json").stdout;
        serde_json::from_slice::<serde_json::Value>(&said).unwrap_or_default()
    };
    let is_connected = || status()["fleet"]["connected"] == true;
    eventually("it is connected", PATIENCE, is_connected);
    let pid = is_hardened(&system);

    // A grant passes, also after it was killed.
    let open = |src: &str| {
        let line =
            format!("logknock --config /peer/logknock.toml --state-dir /peer/state open ssh {src}");
        system.run(&line);
        let line = format!("nft list set inet logknock open4 | grep -q '{src} '");
        eventually("the peer's door opens here", PATIENCE, || {
            system.try_run(&line).status.success()
        });
    };
    open("203.0.113.7");
    system.run("systemctl kill --signal=KILL logknock-fleet");
    eventually("it is started again", PATIENCE, || {
        let line = "systemctl show --property MainPID --value logknock-fleet";
        let again = system.run(line);
        ![&*pid, "0"].contains(&again.trim())
    });
    eventually("it is connected again", PATIENCE, is_connected);
    open("203.0.113.8");
    let doctor = system.try_run("logknock doctor");
    let doctor = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.contains("connected"), "{doctor}");

    // Purged, it has never been here.
    system.run("systemctl stop peer-fleet peer nats");
    system.run("dpkg --purge logknock-fleet");
    assert!(!is_connected(), "its service is stopped");
    system.run("dpkg --purge logknock");
    system.run("rm -r /fleet /peer /etc/nats /var/lib/nats /var/log/knock.log");
    let left: Vec<_> = files(&system).difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A server, and another gateway.
fn start_server_and_peer(system: &Booted) {
    system.run("ip link set lo up && mkdir /peer /etc/nats");
    system.run("logknock-fleet init --server 127.0.0.1:4222 --door ssh --dir /fleet gw1 gw2");
    system.run("cp /fleet/nats.conf /fleet/ca.pem /fleet/server.pem /fleet/server.key /etc/nats");
    system.run("systemd-run --unit nats /new/nats-server -c /etc/nats/nats.conf");
    eventually("the streams are there", PATIENCE, || {
        let line = "logknock-fleet streams --server 127.0.0.1:4222 --dir /fleet";
        system.try_run(line).status.success()
    });
    system.run(
        "install -m 600 /dev/null /peer/knock.log && install -m 600 /new/peer.toml /peer/logknock.toml &&
         sed -e 's,/etc/logknock/fleet,/fleet/gw2,; s,^.fleet.$,&\\nuser = \"root\",' /fleet/gw2/fleet.toml \
             >>/peer/logknock.toml &&
         systemd-run --unit peer logknock --config /peer/logknock.toml --state-dir /peer/state &&
         systemd-run --unit peer-fleet logknock-fleet --socket /peer/state/fleet.sock",
    );
}

/// The number of the agent's process, which has no right and cannot read the key that signs.
fn is_hardened(system: &Booted) -> String {
    let pid = system.run("systemctl show --property MainPID --value logknock-fleet");
    let pid = pid.trim();
    let of = system.run(&format!("stat -c %U /proc/{pid}; cat /proc/{pid}/status"));
    for line in [
        "logknock-fleet",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapBnd:\t0000000000000000",
    ] {
        assert!(of.lines().any(|other| other.trim() == line), "{line}: {of}");
    }
    let read = |file: &str| {
        let user = "setpriv --reuid logknock-fleet --regid logknock-fleet --clear-groups";
        let line = format!("{user} cat /etc/logknock/fleet/{file}");
        system.try_run(&line).status.success()
    };
    assert!(
        read("tls.key") && !read("signing.key"),
        "which keys it can read"
    );
    pid.to_owned()
}

#[test]
fn the_agents_rpm_has_the_files_of_its_deb_and_is_started_and_stopped_by_its_scriptlets() {
    if !need(&["rpm", "rpmbuild", "dpkg-deb", "dpkg-shlibdeps", "busybox"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let deb = build("fleet-deb", dir.path(), &[]);
    let rpm = build("fleet-rpm", dir.path(), &[]);
    let listed = run("rpm", ["--query", "--package", "--list", path(&rpm)]);
    let tar = "dpkg-deb --fsys-tarfile \"$1\" | tar t";
    let tar = finish(command("sh").args(["-c", tar, "sh", path(&deb)]));
    let of_distribution = |file: &str| {
        let file = file
            .trim_start_matches('.')
            .replace("vendor-completions", "site-functions");
        file.replace("/lib/systemd", "/usr/lib/systemd")
            .replace("/usr/usr", "/usr")
    };
    let files = tar.lines().filter(|file| !file.ends_with('/'));
    let files = files.filter(|file| !file.contains("/doc/") && !file.contains("/lintian/"));
    let files: Vec<_> = files.map(of_distribution).collect();
    assert_eq!(files.len(), 8, "{files:?}");
    for file in files {
        assert!(
            listed.lines().any(|other| other == file),
            "{file}: {listed}"
        );
    }
    let needs = run("rpm", ["--query", "--package", "--requires", path(&rpm)]);
    let version = concat!("logknock = ", env!("CARGO_PKG_VERSION"), "-1");
    assert!(needs.lines().any(|need| need == version), "{needs}");

    let next = build("fleet-rpm", dir.path(), &[("REVISION", "2")]);
    let root = dir.path().join("root");
    make_root(&root);
    fs::copy(
        root.join("bin/systemctl"),
        root.join("bin/systemd-sysusers"),
    )
    .expect("a copy");
    let does = |words: &[&str]| {
        let _ = fs::remove_file(root.join("calls"));
        run(
            "rpm",
            [&["--root", path(&root), "--nodeps"], words].concat(),
        );
        fs::read_to_string(root.join("calls")).unwrap_or_default()
    };
    let called = does(&["--install", path(&rpm)]);
    assert!(
        called.contains("logknock-fleet.conf\npreset logknock-fleet.service"),
        "{called}"
    );
    let called = does(&["--upgrade", path(&next)]);
    assert!(
        called.contains("try-restart logknock-fleet.service"),
        "{called}"
    );
    assert!(!called.contains("disable"), "{called}");
    let called = does(&["--erase", "logknock-fleet"]);
    assert!(
        called.contains("disable --now logknock-fleet.service"),
        "{called}"
    );
    let found = run("find", [path(&root), "-name", "*logknock*"]);
    assert_eq!(found, "", "nothing is left");
}
