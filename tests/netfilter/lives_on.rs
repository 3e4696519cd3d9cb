//! `logknock rules --install` under a real systemd, beside the real nftables.service, ufw and firewalld; and `--try`.
//!
//! What must hold after every reload, restart and boot of theirs: a stranger is shut out, whoever had knocked gets in,
//! and a session that was there before goes on. The server is a system of its own, with a client in a namespace.

use std::time::Duration;

use crate::lab::PATIENCE;
use crate::need::long;
use crate::process::{eventually, find};
use crate::unit::System;

/// A client with two addresses of each family, and one in another /64; the first is the one that it takes by itself.
pub(crate) const NETWORK: &str = r"
set -e
ip link set lo up
ip netns add client
ip link add veth type veth peer name eth0 netns client
ip addr add 192.0.2.1/24 dev veth
ip addr add 2001:db8::1/64 dev veth nodad
ip link set veth up
ip route add 2001:db8:1::/64 dev veth
ip -n client link set lo up
for host in 2 3; do
    ip -n client addr add 192.0.2.$host/24 dev eth0
done
ip -n client addr add 2001:db8::2/64 dev eth0 nodad
ip -n client addr add 2001:db8::3/64 dev eth0 nodad preferred_lft 0
ip -n client addr add 2001:db8:1::3/64 dev eth0 nodad preferred_lft 0
ip -n client link set eth0 up
";
/// A server on 22/tcp that writes down what it hears.
const SERVER: &str = r"
cat >/run/systemd/system/door.socket <<'END'
[Socket]
ListenStream=22
Accept=yes
MaxConnections=1000
TriggerLimitBurst=0
END
cat >/run/systemd/system/door@.service <<'END'
[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart=-/bin/cat
StandardInput=socket
StandardOutput=append:/heard
END
systemctl daemon-reload
systemctl start door.socket
";
/// A session that sends what is written to `/talk`.
const SESSION: &str = r#"
until ip netns exec client nc -z -w 1 192.0.2.1 22 && ip netns exec client nc -z -w 1 2001:db8::1 22; do sleep 0.1; done
rm -f /talk && mkfifo /talk
systemd-run --quiet --unit=session --collect ip netns exec client bash -c \
    'exec 3<>/dev/tcp/192.0.2.1/22 4<>/talk; while read -r word <&4; do echo "$word" >&3; done'
"#;
/// Debian's unit loads this as it is packaged.
const NFTABLES_CONF: &str = "\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input { type filter hook input priority filter; }
}
";

pub(crate) struct Scene {
    pub(crate) system: System,
    session: &'static str,
    /// What is knocked on the wire, where the log is not written to.
    pub(crate) sequence: Option<String>,
    words: u32,
}

impl Scene {
    pub(crate) fn new(tools: &[&str]) -> Option<Self> {
        if !crate::need::need(tools) {
            return None;
        }
        let system = System::boot()?;
        system.run("logknock rules --remove");
        system.run(&format!("{NETWORK}{SERVER}"));
        Some(Self::of(system, SESSION))
    }

    /// Of a system whose network is up; `session` is what opens one.
    pub(crate) fn of(system: System, session: &'static str) -> Self {
        let mut scene = Self {
            system,
            session,
            sequence: None,
            words: 0,
        };
        scene.opens_session();
        scene
    }

    /// Opens a session that goes on from now.
    pub(crate) fn opens_session(&mut self) {
        self.system.run(self.session);
        self.session_goes_on("when it is opened");
    }

    /// A client gets in: `host` is the end of its address.
    pub(crate) fn reaches(&self, host: u8) -> [bool; 2] {
        ["192.0.2.", "2001:db8::"].map(|net| {
            let line = format!("ip netns exec client nc -z -w 1 -s {net}{host} {net}1 22");
            self.system.try_run(&line).status.success()
        })
    }

    pub(crate) fn knock(&self) {
        for (src, to) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            match &self.sequence {
                Some(sequence) => drop(self.system.run(&format!(
                    "ip netns exec client logknock knock {to} {sequence}"
                ))),
                None => self.system.knock(src, [7101, 8202, 9303]),
            }
        }
        let status =
            "logknock status; nft list ruleset; tail -n 5 /var/log/knock.log /said || true";
        eventually(
            &format!("whoever has knocked gets in: {}", self.system.run(status)),
            PATIENCE,
            || self.reaches(2) == [true; 2],
        );
    }

    pub(crate) fn session_goes_on(&mut self, when: &str) {
        self.words += 1;
        let word = format!("word{}", self.words);
        self.system.run(&format!("echo {word} >/talk"));
        self.system.await_run(
            &format!("the session goes on {when}"),
            &format!("grep -q {word} /heard"),
        );
    }

    /// What must hold after `act`, which may take along what was open where `forgets`.
    pub(crate) fn survives(&mut self, act: &str, forgets: bool) {
        self.system.run(act);
        assert_eq!(self.reaches(3), [false; 2], "a stranger after {act}");
        if forgets {
            self.knock();
        }
        assert_eq!(
            self.reaches(2),
            [true; 2],
            "whoever had knocked, after {act}"
        );
        self.session_goes_on(act);
    }

    /// As a boot does: nothing is in the kernel, and what is enabled is started in its order.
    pub(crate) fn boots(&mut self, services: &str) {
        let services_start = match services {
            "" => "true".to_owned(),
            services => format!("systemctl start {services}"),
        };
        self.survives(
            &format!(
                "systemctl stop logknock logknock-rules {services}; nft flush ruleset
                 test $(systemctl is-enabled logknock-rules) = enabled
                 {services_start} && systemctl start logknock-rules logknock"
            ),
            true,
        );
    }
}

#[test]
fn the_rules_survive_the_reload_and_restart_of_nftables_and_a_boot() {
    let Some(mut scene) = Scene::new(&["nft", "nc"]) else {
        return;
    };
    scene.system.run(&format!(
        "cat >/etc/nftables.conf <<'END'\n{NFTABLES_CONF}END\nsystemctl enable --now nftables"
    ));
    let said = scene.system.run("logknock rules --for nft --install");
    assert!(said.contains("/etc/nftables.conf includes"), "{said}");
    scene.session_goes_on("when the rules are loaded");
    assert_eq!(scene.reaches(2), [false; 2], "nobody has knocked");
    scene.knock();
    scene.survives("systemctl reload nftables", false);
    scene.survives("systemctl restart nftables", false);
    scene.survives("nft -f /etc/nftables.conf", true);
    scene.boots("nftables");
    // Without an include, the unit is what loads them, as soon as systemd has come to it: that is the gap.
    scene.system.run("sed -i '/^include/d' /etc/nftables.conf");
    for act in ["reload", "restart"] {
        let settled = "timeout 20 sh -c 'while systemctl list-jobs | grep -q logknock-rules; do sleep 0.05; done'";
        scene.survives(&format!("systemctl {act} nftables\n{settled}"), false);
    }
    scene.boots("nftables");

    scene
        .system
        .run("logknock rules --for nft --install && logknock rules --remove");
    assert_eq!(scene.reaches(3), [true; 2], "nothing is left behind");
    let left = scene
        .system
        .run("cat /etc/nftables.conf; ls /etc/systemd/system /etc/logknock; nft list tables");
    let trace = ["rules.nft", "logknock-rules", "inet logknock"];
    assert!(!trace.iter().any(|trace| left.contains(trace)), "{left}");
}

#[test]
fn the_rules_survive_the_reload_of_ufw_and_leave_it_as_it_was() {
    let Some(mut scene) = Scene::new(&["nft", "nc", "ufw"]) else {
        return;
    };
    scene.system.run("ufw allow 22/tcp && ufw --force enable");
    let before = scene.system.run("ufw show added");
    for backend in ["nft", "ipset", "iptables"] {
        scene.system.run(&format!(
            "sed -i 's/^backend = .*/backend = \"{backend}\"/' /etc/logknock/logknock.toml && systemctl restart logknock"
        ));
        scene.system.run("logknock rules --for ufw --install");
        assert_eq!(
            scene.reaches(2),
            [false; 2],
            "nobody has knocked: {backend}"
        );
        scene.session_goes_on("when the rules are loaded");
        scene.knock();
        scene.survives("ufw reload", false);
        scene.survives("ufw disable && ufw --force enable", false);
        scene.boots("ufw");
        scene
            .system
            .run("logknock close --all; logknock rules --remove");
        assert_eq!(scene.system.run("ufw show added"), before);
        assert_eq!(
            scene.reaches(3),
            [true; 2],
            "nothing is left behind: {backend}"
        );
    }
}

#[test]
fn the_rules_survive_the_reload_and_restart_of_firewalld_and_leave_it_as_it_was() {
    if find("firewalld").is_none() {
        crate::need::need(&["firewalld"]);
        return;
    }
    let Some(mut scene) = Scene::new(&["nft", "nc", "firewall-cmd"]) else {
        return;
    };
    scene
        .system
        .run("systemctl start dbus firewalld && firewall-cmd --state");
    let before = scene
        .system
        .run("firewall-cmd --permanent --list-all; firewall-cmd --list-all");
    scene.system.run("logknock rules --for firewalld --install");
    assert_eq!(scene.reaches(2), [false; 2], "nobody has knocked");
    scene.session_goes_on("when the rules are loaded");
    scene.knock();
    scene.survives("firewall-cmd --reload", false);
    scene.survives("systemctl restart firewalld", false);
    scene.boots("firewalld");
    scene.system.run("logknock rules --remove");
    let after = scene
        .system
        .run("firewall-cmd --permanent --list-all; firewall-cmd --list-all");
    assert_eq!(after, before);
    assert_eq!(scene.reaches(3), [true; 2], "nothing is left behind");
}

#[test]
fn a_trial_undoes_itself_when_the_shell_that_began_it_is_killed() {
    let Some(mut scene) = Scene::new(&["nft", "nc"]) else {
        return;
    };
    let tries = |system: &System, time: &str| {
        let line = format!("sh -c 'logknock rules --try {time}; kill -9 $$'");
        assert!(!system.try_run(&line).status.success());
    };
    // By systemd's timer, and without one by a process of our own.
    for without in ["", "mv /usr/bin/systemd-run /usr/bin/not-systemd-run"] {
        scene.system.run(&format!("{without}\ntrue"));
        tries(&scene.system, "3s");
        assert_eq!(scene.reaches(3), [false; 2], "they are loaded");
        scene.session_goes_on("on trial");
        eventually("the trial ends", PATIENCE, || scene.reaches(3) == [true; 2]);
        scene.system.run("! nft list tables | grep -q logknock");
    }
    tries(&scene.system, "4s");
    scene
        .system
        .run("logknock rules --confirm && ! logknock rules --confirm");
    // What would have ended that trial ends no later one.
    scene
        .system
        .run("logknock rules --try 10m && sleep 5 && logknock rules --confirm");
    assert_eq!(scene.reaches(3), [false; 2], "what is confirmed stays");
    // Another trial puts back what is there now.
    scene.knock();
    scene.system.run("sed 's/opens = .*/opens = [\"23:tcp\"]/' /etc/logknock/logknock.toml >/other.toml && chmod 600 /other.toml");
    scene
        .system
        .run("logknock --config /other.toml rules --for nft --try 2s");
    assert_eq!(
        scene.reaches(3),
        [true; 2],
        "the other configuration guards 23"
    );
    eventually("the trial ends", PATIENCE, || {
        scene.reaches(3) == [false; 2]
    });
    assert_eq!(scene.reaches(2), [true; 2], "what was open is open");
}

#[test]
fn a_flush_is_reported_and_with_heal_rules_and_open_doors_are_restored() {
    let Some(mut scene) = Scene::new(&["nft", "nc"]) else {
        return;
    };
    let look = "logknock reload";
    let (bad, well) = (
        "port 22/tcp is open to everybody",
        "logs and guards as configured",
    );
    let told = |scene: &Scene, acts: &str, words: &str| {
        scene.system.run(acts);
        let line = format!("logknock status | grep '^firewall: ' | grep -q '{words}'");
        scene
            .system
            .await_run(&format!("{words} after {acts}"), &line);
    };
    told(&scene, look, bad);
    let notify = "printf '[notify]\\ncommand = [\"touch\", \"/var/lib/logknock/told\"]\\non = [\"firewall_flushed\"]\\n' \
                  >>/etc/logknock/logknock.toml";
    scene.system.run(notify);
    told(&scene, &format!("logknock rules --load; {look}"), well);
    if long() {
        scene.system.run("nft flush ruleset");
        let line = format!("logknock status | grep -q '{bad}'");
        eventually("a flush is told", Duration::from_secs(60), || {
            scene.system.try_run(&line).status.success()
        });
    }
    let flush = format!("nft flush ruleset; {look}");
    told(&scene, &flush, bad);
    scene
        .system
        .await_run("somebody is notified", "test -e /var/lib/logknock/told");
    // Once each time, by name, in the log too.
    let times = if long() { 2 } else { 1 } + 1;
    scene.system.run(&format!(
        "test $(grep -c '{bad}' /said) -le {times}; {look}"
    ));
    let secrets = "7101\\|8202\\|9303\\|lk-4f9a1c7e";
    for shown in ["logknock status", "logknock status --json", "cat /said"] {
        let line = format!("{shown} | grep -q '{secrets}'");
        assert!(!scene.system.try_run(&line).status.success(), "{shown}");
    }

    let heal = "sed -i 's/^backend = .*/&\\nheal = true/' /etc/logknock/logknock.toml";
    told(&scene, &format!("{heal}; {look}"), well);
    assert_eq!(scene.reaches(3), [false; 2], "a stranger");
    scene.knock();
    scene.system.run(&flush);
    scene.system.await_run(
        "the rules are there again",
        "nft list ruleset | grep -q lk-4f9a1c7e",
    );
    eventually("what was open is open", PATIENCE, || {
        scene.reaches(2) == [true; 2]
    });
    assert_eq!(scene.reaches(3), [false; 2], "a stranger");
    scene.session_goes_on("when the rules are loaded again");

    // What the administrator took away stays away, and so does what was only tried.
    told(&scene, &format!("logknock rules --remove; {look}"), bad);
    scene.system.run("logknock rules --try 1s");
    let undone = "! nft list tables | grep -q logknock";
    scene.system.await_run("the trial is undone", undone);
    scene.system.run(look);
    told(
        &scene,
        "logknock rules --try 10m; logknock rules --confirm; nft flush ruleset; logknock reload",
        well,
    );
    // That was the third time within the hour.
    told(&scene, &flush, bad);
    let words = "logknock status | grep -q 'too often within an hour'";
    scene.system.await_run("it is not tried again", words);
}
