//! `logknock doctor` on a host that works, on one that is spoilt in one place, and on that one mended.
//!
//! In: a sabotage as an administrator or another program would do it, and its undoing. Out: the row that names it, exit
//! status 1, and 0 afterwards. No row shows a port of the sequence or the prefix.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use crate::daemon::Daemon;
use crate::lab::{Family, Hit, Lab, PATIENCE};
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
        self.doctor_after("")
    }

    /// The same behind words for the shell that starts it.
    fn doctor_after(&self, words: &str) -> (String, bool) {
        let done = self.command(words, "").output();
        self.read(&done.expect("it runs"))
    }

    fn command(&self, before: &str, behind: &str) -> Command {
        let (config, state) = (self.lab.path("logknock.toml"), self.lab.path("state"));
        let line = format!(
            "{before}{} doctor --config {} --state-dir {} {behind}",
            env!("CARGO_BIN_EXE_logknock"),
            config.display(),
            state.display()
        );
        let mut command = self.lab.server.command("sh");
        command.args(["-c", &line]);
        command
    }

    fn read(&self, done: &Output) -> (String, bool) {
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
    // As docker and fail2ban write them.
    host.sh(
        "iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
         iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
         iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; iptables -A FORWARD -j DOCKER-USER; iptables -P FORWARD DROP
         iptables -N f2b-sshd; iptables -A f2b-sshd -s 198.51.100.7/32 -j REJECT; iptables -A f2b-sshd -j RETURN
         iptables -I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd",
    );
    host.is_well("beside docker and fail2ban");
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
    lab.near.syn(Family::V4.server(9));
    syslog.catch_up(lab);
    let followed = lab.write("followed.log", "");
    host.configure(&followed.display().to_string(), "");
    host.names("rsyslog writes elsewhere", "they are in ");
    host.configure(&syslog.log().display().to_string(), "");
    host.is_well("the right file");
    host.configure(&lab.path("nowhere.log").display().to_string(), "");
    host.names("no such log", "nowhere.log does not exist");
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

#[test]
fn a_rule_that_is_appended_behind_a_drop_is_warned_of() {
    let Some(host) = Host::new(Backend::Iptables, "kmsg") else {
        return;
    };
    let check = || {
        let mut command = host.lab.server.command(env!("CARGO_BIN_EXE_logknock"));
        command.arg("--config").arg(host.lab.path("knockd.conf"));
        let done = command
            .args(["--prefix-file"])
            .arg(host.lab.path("prefix"))
            .args(["check", "--follow", "kmsg"])
            .output();
        String::from_utf8_lossy(&done.expect("it runs").stderr).into_owned()
    };
    host.lab.write("prefix", &host.lab.prefix);
    // As Debian's is.
    host.lab.write(
        "knockd.conf",
        "[openSSH]\n sequence = 47123,48456,49789\n seq_timeout = 5\n \
         command = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n tcpflags = syn\n",
    );
    let words = "appends to INPUT, behind a rule that drops 22";
    assert!(!check().contains(words), "{}", check());
    host.sh("iptables -A INPUT -p tcp --dport 25 -j DROP; iptables -A INPUT -p tcp --dport 22 -m limit --limit 1/s -j DROP");
    assert!(!check().contains(words), "{}", check());
    host.sh("iptables -A INPUT -p tcp --syn --dport 22 -j DROP");
    assert!(check().contains(words), "{}", check());
}

/// The value of a switch of the kernel, for what is run in here: `ip netns exec` has mounts of its own.
fn behind(host: &Host, switch: &str, value: &str) -> String {
    let file = host.lab.write("switch", value);
    format!("mount --bind {} {switch}; ", file.display())
}

#[test]
fn what_others_may_read_and_what_we_may_not_is_named() {
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let daemon = Daemon::restart(&host.lab);
    let restricted = "/proc/sys/kernel/dmesg_restrict";
    let words = "kernel.dmesg_restrict is 0";
    assert!(
        host.doctor_after(&behind(&host, restricted, "0"))
            .0
            .contains(words)
    );
    assert!(
        !host
            .doctor_after(&behind(&host, restricted, "1"))
            .0
            .contains(words)
    );

    // As a daemon that is not root would see it.
    let log = host.lab.write("others.log", "");
    let shown = log.display().to_string();
    host.configure(&shown, "");
    let weak = "exec setpriv --bounding-set -dac_override,-dac_read_search ";
    std::os::unix::fs::chown(&log, Some(65_534), None).expect("root gives away");
    let said = host.doctor_after(weak).0;
    assert!(
        said.contains(&format!(
            "uid 0 cannot open {shown} (mode 0600, owner 65534)"
        )),
        "{said}"
    );
    std::os::unix::fs::chown(&log, Some(0), None).expect("root takes it");
    let (said, is_well) = host.doctor_after(weak);
    assert!(is_well, "{said}");

    let metrics = host.lab.write("metrics", "");
    host.configure(
        "kmsg",
        &format!("[daemon]\nmetrics_file = \"{}\"\n", metrics.display()),
    );
    host.names(
        "metrics that nobody can read",
        "cannot be read by others (mode 0600)",
    );
    host.sh(&format!("chmod 644 {}", metrics.display()));
    host.is_well("the metrics can be read");
    drop(daemon);
}

#[test]
fn stamps_of_another_zone_and_a_clock_that_was_set_back_are_named() {
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let daemon = Daemon::restart(&host.lab);
    let log = host.lab.path("stamped.log");
    let log = log.display();
    host.configure(&log.to_string(), "");
    let write = |when: &str| {
        let prefix = &host.lab.prefix;
        host.sh(&format!(
            "echo \"$(LC_ALL=C date -d '{when}' '+%b %e %T') gw kernel: {prefix}IN=eth0\" >{log}; chmod 600 {log}"
        ));
    };
    write("-5 hours");
    host.names("a zone", "are 5h behind: its syslog uses another time zone");
    write("+5 hours 45 minutes");
    host.names("a zone", "ahead: its syslog uses another time zone");
    write("now");
    host.is_well("the same zone");
    host.sh(&format!("touch -d '+3 hours' {log}"));
    host.names("a jump", "the clock was set back");
    write("now");
    host.is_well("the clock is right");
    drop(daemon);
}

#[test]
fn a_close_that_fails_and_a_disk_that_is_full_are_named() {
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let lab = &host.lab;
    let (state, mended) = (lab.path("state"), lab.path("mended"));
    fs::create_dir_all(&state).expect("a directory");
    let (state, mended) = (state.display(), mended.display());
    finish(crate::process::command("mount").args([
        "-t",
        "tmpfs",
        "-o",
        "size=1m,mode=700",
        "tmpfs",
        &state.to_string(),
    ]));
    host.configure(
        "kmsg",
        &format!(
            "[door.other]\nsequence = [47123, 49789]\ncmd_timeout = \"1s\"\nstart_command = [\"true\"]\n\
             stop_command = [\"test\", \"-e\", \"{mended}\"]\n"
        ),
    );
    let daemon = Daemon::restart(lab);
    let ask = |words: &[&str]| {
        let mut command = lab.server.command(env!("CARGO_BIN_EXE_logknock"));
        command
            .arg("--config")
            .arg(lab.path("logknock.toml"))
            .arg("--state-dir")
            .arg(lab.path("state"));
        command
            .args(words)
            .output()
            .expect("it runs")
            .status
            .success()
    };
    assert!(ask(&["open", "other", "192.0.2.2"]));
    eventually("a failed close is named", PATIENCE, || {
        let (said, is_well) = host.doctor();
        !is_well && said.contains("the close of other for 192.0.2.2 has failed ")
    });
    lab.write("mended", "");
    ask(&["close", "192.0.2.2"]);
    eventually("it is closed", 3 * PATIENCE, || host.doctor().1);

    host.sh(&format!(
        "dd if=/dev/zero of={state}/filler bs=4k 2>/dev/null || true"
    ));
    eventually("a full disk is named", PATIENCE, || {
        ask(&["open", "other", "192.0.2.2"]);
        let (said, is_well) = host.doctor();
        !is_well && said.contains("no door opens until the ledger can be written")
    });
    host.sh(&format!("rm {state}/filler"));
    eventually("there is room again", 3 * PATIENCE, || host.doctor().1);
    assert!(daemon.stop().success());
    finish(crate::process::command("umount").arg(state.to_string()));
}

#[test]
fn a_live_knock_is_followed_to_the_step_where_it_is_lost() {
    let Some(host) = Host::new(Backend::Nft, "kmsg") else {
        return;
    };
    let daemon = Daemon::restart(&host.lab);
    let hit = |ports: &[u16]| {
        let hits: Vec<_> = ports.iter().copied().map(Hit::Tcp).collect();
        host.lab.hit(&host.lab.near, Family::V4, &hits);
    };
    let live = |time: &str, act: &dyn Fn()| {
        let mut command = host.command("exec ", &format!("--live 192.0.2.2 --for {time}"));
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut doctor = piped.spawn().expect("it starts");
        let mut said = String::new();
        let stderr = doctor.stderr.take().expect("it is piped");
        BufReader::new(stderr)
            .read_line(&mut said)
            .expect("it says that it waits");
        assert!(said.contains("waiting for a knock"), "{said}");
        act();
        host.read(&doctor.wait_with_output().expect("it ends"))
    };
    let (said, is_well) = live("1s", &|| ());
    assert!(
        !is_well && said.contains("no packet from 192.0.2.2 has reached"),
        "{said}"
    );
    let (said, is_well) = live("5s", &|| hit(&SEQUENCE[..2]));
    assert!(
        !is_well && said.contains("the knock ended at step 2 of 3"),
        "{said}"
    );
    let (said, is_well) = live("60s", &|| hit(&[SEQUENCE[0], SEQUENCE[1], SEQUENCE[2]]));
    assert!(
        is_well && said.contains("ssh is open for 192.0.2.2"),
        "{said}"
    );
    drop(daemon);
}

#[test]
fn rules_that_see_packets_of_which_the_kernel_logs_none_are_named() {
    if !crate::need::need(&[]) {
        return;
    }
    let Some(lab) = Lab::new(Ring::Alone, Backend::Nft.needs()) else {
        return;
    };
    let host = Host {
        lab,
        backend: Backend::Nft,
    };
    host.configure("kmsg", "");
    load(&host.lab, host.backend, &[]);
    let _daemon = Daemon::restart(&host.lab);
    // Nobody else is here: the switch is ours.
    let switch = |value: &str| fs::write(crate::need::LOG_ALL_NETNS, value).expect("it turns");
    switch("0");
    host.lab.near.syn(Family::V4.server(SEQUENCE[0]));
    let words = "the rules match packets, but the kernel logs none";
    eventually("it is named", PATIENCE, || {
        let (said, is_well) = host.doctor();
        !is_well && said.contains(words)
    });
    switch("1");
    host.lab
        .hit(&host.lab.near, Family::V4, &[Hit::Tcp(SEQUENCE[1])]);
    host.is_well("the switch is on");
}
