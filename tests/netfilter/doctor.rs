//! `logknock doctor` on a host that works, on one that is spoilt in one place, and on that one mended.
//!
//! In: a sabotage as an administrator or another program would do it, and its undoing. Out: the row that names it, exit
//! status 1, and 0 afterwards. No row shows a port of the sequence or the prefix.

use std::fs;

use crate::daemon::Daemon;
use crate::lab::{Lab, PATIENCE};
use crate::opens::{Backend, load};
use crate::process::{eventually, finish, name};
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

/// Of five digits, so that no other number has them in it.
const SEQUENCE: [u16; 3] = [47_123, 48_456, 49_789];

struct Host {
    lab: Lab,
    backend: Backend,
}

impl Host {
    fn new(backend: Backend, source: &str) -> Option<Self> {
        let lab = Lab::new(Ring::Shared, backend.needs())?;
        let host = Self { lab, backend };
        host.configure(source, "");
        load(&host.lab, backend, &[]);
        Some(host)
    }

    fn configure(&self, source: &str, more: &str) {
        let text = format!(
            "[log]\nsources = [\"{source}\"]\nprefix = \"{}\"\n[firewall]\nbackend = \"{}\"\n\
             [door.ssh]\nsequence = {SEQUENCE:?}\nseq_timeout = \"15s\"\nopens = [22]\n{more}",
            self.lab.prefix,
            self.backend.name()
        );
        self.lab.write("logknock.toml", &text);
    }

    /// What it says, and whether all is well.
    fn doctor(&self) -> (String, bool) {
        let mut command = self.lab.server.command(env!("CARGO_BIN_EXE_logknock"));
        command
            .arg("doctor")
            .arg("--config")
            .arg(self.lab.path("logknock.toml"));
        let done = command
            .arg("--state-dir")
            .arg(self.lab.path("state"))
            .output();
        let done = done.expect("it runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let all = text.clone() + &String::from_utf8_lossy(&done.stderr);
        let secrets = SEQUENCE.map(|port| port.to_string());
        for secret in secrets
            .iter()
            .map(String::as_str)
            .chain([self.lab.prefix.trim()])
        {
            assert!(!all.contains(secret), "{all}");
        }
        // Of this machine, not of the host in the lab.
        let broken = |line: &str| line.starts_with('✗') && !line.contains("dmesg_restrict");
        let is_well = !text.lines().any(broken);
        let has_none = !text.contains('✗');
        assert_eq!(done.status.code(), Some(i32::from(!has_none)), "{all}");
        (text, is_well)
    }

    fn is_well(&self, when: &str) {
        let (said, is_well) = self.doctor();
        assert!(is_well, "{when}: {said}");
    }

    fn names(&self, sabotage: &str, words: &str) {
        let (said, is_well) = self.doctor();
        assert!(!is_well && said.contains(words), "{sabotage}: {said}");
    }

    fn sh(&self, line: &str) {
        finish(self.lab.server.command("sh").args(["-c", line]));
    }

    /// Spoils something, is told so, and mends it.
    fn spoilt(&self, sabotage: &str, words: &str, undone: &str) {
        self.sh(sabotage);
        self.names(sabotage, words);
        self.sh(undone);
        load(&self.lab, self.backend, &[]);
        self.is_well(&format!("undone: {sabotage}"));
    }
}

#[test]
fn every_fault_of_the_rules_is_named_and_gone_when_it_is_mended() {
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let daemon = Daemon::restart(&host.lab);
    host.is_well("as printed");
    let other = "table inet other { chain c { type filter hook HOOK; }; }";
    let table = |hook: &str, rule: &str| {
        let hook = other.replace("HOOK", hook);
        format!(
            "nft '{}'{}",
            hook,
            rule.replace("RULE", "nft add rule inet other c")
        )
    };
    let gone = "nft delete table inet other";
    let step = SEQUENCE[2];
    let relog = |rule: &str| {
        format!("nft flush chain inet logknock knocks && nft add rule inet logknock knocks {rule}")
    };
    let log = format!("log prefix '\"{}\"'", host.lab.prefix);
    for (sabotage, words, undone) in [
        (
            "nft delete table inet logknock".to_owned(),
            "port 22/tcp is open to everybody",
            "",
        ),
        (
            relog("log prefix '\"lk-of-old: \"'"),
            "logs with another prefix",
            "",
        ),
        (
            relog("counter"),
            "nothing logs with the configured prefix",
            "",
        ),
        (
            relog(&format!("limit rate 3/minute {log}")),
            "logs 3 packets a minute over all addresses",
            "",
        ),
        (
            table(
                "prerouting priority -300",
                &format!("; RULE tcp dport {step} drop"),
            ),
            "table inet other, chain c (priority -300) drops step 3 before it is logged",
            gone,
        ),
        (
            table("input priority 0; policy drop", ""),
            "table inet other, chain c (priority 0, by its policy) drops what a door lets in at 22/tcp",
            gone,
        ),
        (
            "nft 'table inet other { chain c { type nat hook prerouting priority -199; }; }'; \
             nft add rule inet other c tcp dport STEP redirect to :1"
                .replace("STEP", &step.to_string()),
            "table inet other, chain c (priority -199) redirects step 3 before it is logged",
            gone,
        ),
    ] {
        host.spoilt(&sabotage, words, undone);
    }
    // Limits, bans and policies of others, as fail2ban and ufw have them.
    host.sh(
        "nft 'table inet other { set banned { type ipv4_addr; }; chain c { type filter hook input priority 0; policy drop; }; }'
         nft add rule inet other c ct state established,related accept
         nft add rule inet other c ip saddr @banned reject
         nft add rule inet other c limit rate 3/minute log prefix '\"[UFW BLOCK] \"'
         nft add rule inet other c tcp dport 22 accept",
    );
    host.is_well("beside others");
    drop(daemon);
}

#[test]
fn the_rules_of_iptables_are_read_too() {
    let Some(host) = Host::new(Backend::Iptables, "kmsg") else {
        return;
    };
    let _daemon = Daemon::restart(&host.lab);
    host.is_well("as printed");
    for (sabotage, words, undone) in [
        (
            "iptables -t mangle -F PREROUTING && iptables -F INPUT".to_owned(),
            "port 22/tcp is open to everybody",
            "",
        ),
        (
            format!(
                "iptables -t raw -I PREROUTING -p tcp --dport {} -j DROP",
                SEQUENCE[0]
            ),
            "table ip raw, chain PREROUTING (priority -300) drops step 1 before it is logged",
            "iptables -t raw -F",
        ),
        (
            "iptables -t mangle -F LOGKNOCK_LOG".to_owned(),
            "nothing logs with the configured prefix",
            "",
        ),
    ] {
        host.spoilt(&sabotage, words, undone);
    }
}

#[test]
fn what_is_wrong_around_the_rules_is_named_and_gone_when_it_is_mended() {
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let lab = &host.lab;
    host.names("no daemon", "not running: port 22 is closed to everybody");
    let daemon = Daemon::restart(lab);
    host.is_well("it runs");

    host.configure("kmsg", "interface = \"ens3\"\n");
    host.names(
        "an interface that is not there",
        "no interface ens3; there are ",
    );
    host.configure("kmsg", "");
    host.is_well("the interface is gone");

    // The kernel's lines go to another file than the one that is followed.
    let mut syslog = Rsyslog::start(lab, Module::Imkmsg);
    lab.near.syn(crate::lab::Family::V4.server(9));
    syslog.catch_up(lab);
    let followed = lab.write("followed.log", "");
    host.configure(&followed.display().to_string(), "");
    host.names("rsyslog writes elsewhere", "they are in ");
    host.configure(&syslog.log().display().to_string(), "");
    host.is_well("the right file");
    host.configure(&lab.path("nowhere.log").display().to_string(), "");
    host.names("no such log", "nowhere.log is not there");
    host.configure("kmsg", "");

    // Another daemon with a state of its own.
    let state = lab.path("state");
    let aside = lab.path("state-of-one");
    fs::rename(&state, &aside).expect("it moves");
    let second = Daemon::restart(lab);
    host.names("two daemons", "a second logknock runs, pid ");
    assert!(second.stop().success());
    let _ = fs::remove_dir_all(&state);
    fs::rename(&aside, &state).expect("it moves back");
    host.is_well("one daemon");
    drop(daemon);
}

#[test]
fn a_port_where_nobody_listens_is_named_with_the_one_where_sshd_does() {
    if !crate::need::need(&["sshd"]) {
        return;
    }
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let _daemon = Daemon::restart(&host.lab);
    let key = host.lab.path("key");
    let key = key.to_str().expect("a plain path");
    crate::process::run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    fs::create_dir_all("/run/sshd").expect("a directory");
    let options = ["-D", "-f", "/dev/null", "-h", key, "-p", "2222"];
    let sshd = crate::process::find("sshd").expect("it is there");
    let words = [
        "ip",
        "netns",
        "exec",
        host.lab.server.namespace(),
        sshd.to_str().expect("plain"),
    ];
    let sshd = crate::process::Running::start("sshd", words.into_iter().chain(options), |_| ());
    let is_sshd = || {
        rustix::process::Pid::from_raw(sshd.pid().cast_signed())
            .is_some_and(|pid| name(pid) == "sshd")
    };
    eventually("sshd runs", PATIENCE, is_sshd);
    let path = host.lab.path("logknock.toml");
    let text = fs::read_to_string(&path).expect("it is there");
    host.lab.write(
        "logknock.toml",
        &text.replace("opens = [22]", "opens = [2022]"),
    );
    load(&host.lab, host.backend, &[]);
    eventually("sshd's port is named", PATIENCE, || {
        host.doctor()
            .0
            .contains("nothing listens on 2022; sshd listens on 2222")
    });
    host.lab.write(
        "logknock.toml",
        &text.replace("opens = [22]", "opens = [2222]"),
    );
    load(&host.lab, host.backend, &[]);
    host.is_well("the door opens sshd's port");
}
