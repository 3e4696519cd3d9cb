//! The unit as it is packaged, under a systemd of its own: this machine's, on a copy of its files that is
//! thrown away, in namespaces without a network.
//!
//! What must hold: the sandbox lets through what the README promises, and nothing of what the daemon
//! gives up by itself is lost in it. What a test changes of the unit is a drop-in, as an administrator would.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::booted::{Booted, Files};
use crate::lab::PATIENCE;
use crate::process::eventually;

const LOG: &str = "/var/log/knock.log";
const CONFIG: &str = r#"
[log]
sources = ["/var/log/knock.log", "kmsg", "unix:/run/logknock/syslog"]
prefix = "lk-4f9a1c7e: "

[daemon]
group = "adm"
event_log = "/var/log/logknock/events.jsonl"

[firewall]
backend = "nft"

[door.ssh]
sequence = [7101, 8202, 9303]
opens = ["22:tcp"]
cmd_timeout = "1h"

[door.rule]
sequence = [7102, 8202, 9303]
start_command = "iptables -w 5 -I INPUT -s %IP% -p tcp --dport 25 -j ACCEPT"
stop_command = "iptables -w 5 -D INPUT -s %IP% -p tcp --dport 25 -j ACCEPT"
cmd_timeout = "1h"

[door.somebody]
sequence = [7103, 8202, 9303]
user = "nobody"
shell = true
start_command = "test $(id -un) = nobody && grep -q '^CapEff:.0000000000000000$' /proc/self/status"
stop_command = "true"
cmd_timeout = "1h"
"#;
/// What the unit says is needed for such a configuration, and what there is no whole system for here.
const DROP_IN: &str = "\
[Unit]
DefaultDependencies=no
[Service]
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_KILL
SupplementaryGroups=adm
StandardOutput=null
StandardError=append:/said
";

/// A systemd with the unit.
pub(crate) struct System(pub(crate) Booted);

impl System {
    pub(crate) fn boot() -> Option<Self> {
        let files = Files::new(&["journalctl", "nft", "iptables"])?;
        let unit = include_str!("../../packaging/systemd/logknock.service");
        files.put("etc/systemd/system/logknock.service", unit);
        files.put("etc/systemd/system/logknock.service.d/lab.conf", DROP_IN);
        files.put("etc/logknock/logknock.toml", CONFIG);
        files.put(LOG, "");
        let binary = env!("CARGO_BIN_EXE_logknock");
        fs::copy(binary, files.place("usr/bin/logknock")).expect("a copy");
        for path in ["etc/logknock/logknock.toml", LOG] {
            let mode = Permissions::from_mode(0o600);
            fs::set_permissions(files.place(path), mode).expect("it is ours");
        }
        Some(Self(files.boot(Path::new("/"), "logknock.service")))
    }

    /// Runs a line of shell in it, beside the unit.
    pub(crate) fn try_run(&self, line: &str) -> Output {
        self.0.try_run(line)
    }

    pub(crate) fn run(&self, line: &str) -> String {
        let done = self.try_run(line);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "{line}: {said}{error}{}",
            self.said()
        );
        said
    }

    /// What the daemon has said.
    fn said(&self) -> String {
        let said = self.try_run("cat /said || journalctl --quiet --unit logknock");
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    /// What a firewall would log, and a syslog write.
    pub(crate) fn knock(&self, src: &str, ports: [u16; 3]) {
        // Another port each time, or it would be the same packets again.
        static SPT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(40_001);
        let spt = SPT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for port in ports {
            let head = if src.contains(':') {
                let src: std::net::Ipv6Addr = src.parse().expect("an address");
                let src = src.segments().map(|part| format!("{part:04x}")).join(":");
                format!(
                    "SRC={src} DST=2001:0db8:0000:0000:0000:0000:0000:0001 LEN=60 TC=0 HOPLIMIT=52 FLOWLBL=0"
                )
            } else {
                format!("SRC={src} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={port} DF")
            };
            self.run(&format!(
                "echo 'kernel: lk-4f9a1c7e: IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 {head} \
                 PROTO=TCP SPT={spt} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 ' >> {LOG}"
            ));
        }
    }

    pub(crate) fn await_run(&self, what: &str, line: &str) {
        eventually(&format!("{what}: {}", self.said()), PATIENCE, || {
            self.try_run(line).status.success()
        });
    }
}

#[test]
fn the_packaged_unit_lets_its_doors_open_and_its_detector_confine_itself() {
    let Some(system) = System::boot() else {
        return;
    };
    system.run("logknock rules --for nft | nft -f -");
    system.knock("203.0.113.7", [7101, 8202, 9303]);
    system.knock("203.0.113.8", [7102, 8202, 9303]);
    system.knock("203.0.113.9", [7103, 8202, 9303]);
    let element = "nft list ruleset | grep -q 'elements = { 203.0.113.7 '";
    let rule = "iptables -C INPUT -s 203.0.113.8 -p tcp --dport 25 -j ACCEPT";
    let event = "grep -q '\"event\":\"open\".*203.0.113.9' /var/log/logknock/events.jsonl";
    for line in [element, rule, event] {
        system.await_run(line, line);
    }
    let three = "test $(logknock status --json | grep -o '\"phase\":\"open\"' | wc -l) = 3";
    system.await_run("all of them are open", three);

    let status = system.run("logknock status --json");
    assert_eq!(
        status.matches(r#""health":"following""#).count(),
        3,
        "{status}"
    );
    let files = has_landlock();
    let calls = rustix::thread::secure_computing_mode().is_ok();
    assert_eq!(status.contains(r#""files":"none""#), !files, "{status}");
    assert_eq!(status.contains(r#""calls":"none""#), !calls, "{status}");
    assert!(
        status.contains(r#""capabilities":["DAC_READ_SEARCH"]"#),
        "{status}"
    );
    system.run("test $(stat -c %a:%G /run/logknock/control.sock) = 660:adm");
    system.run("systemctl reload logknock");

    system.run("systemctl kill --kill-who=main --signal=KILL logknock");
    let again = "test $(systemctl show --property NRestarts --value logknock) = 1 && systemctl is-active logknock";
    system.await_run("it is started again", again);
    system.await_run("what was open still is", three);
    system.run("systemctl stop logknock && test $(systemctl show --property Result --value logknock) = success");
    for line in [element, rule] {
        assert!(
            !system.try_run(line).status.success(),
            "{line}: {}",
            system.said()
        );
    }
}

/// Whether this kernel has Landlock at all.
fn has_landlock() -> bool {
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1));
    ruleset.and_then(Ruleset::create).is_ok()
}
