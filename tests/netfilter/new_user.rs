//! `logknock init` on hosts with one firewall and another, and a new user who does what it prints.

use std::fs;

use crate::lives_on::Scene;
use crate::process::find;
use crate::unit::System;

/// Debian's unit loads this as it is packaged; a port of another number leads to sshd's.
const NFTABLES_CONF: &str = "\
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input { type filter hook input priority filter; }
}
table inet published {
    chain arriving { type nat hook prerouting priority dstnat; tcp dport 8022 redirect to :22; }
}
";

/// The command of a step that `init` has printed.
fn step(said: &str, number: u8) -> String {
    let line = said
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("{number}. ")));
    let (_, command) = line.expect(said).split_once(": ").expect(said);
    command.trim().to_owned()
}

#[test]
fn whoever_does_what_init_prints_is_never_locked_out_and_nobody_else_gets_in() {
    let Some(mut scene) = Scene::new(&["nft", "nc"]) else {
        return;
    };
    scene.system.run(&format!(
        "systemctl stop logknock; rm -r /etc/logknock /var/lib/logknock
         cat >/etc/nftables.conf <<'END'\n{NFTABLES_CONF}END\nsystemctl enable --now nftables"
    ));
    let said = scene.system.run("logknock init");
    assert_eq!(
        scene.system.run("stat -c %a /etc/logknock/logknock.toml"),
        "600\n"
    );
    let written = scene.system.run("cat /etc/logknock/logknock.toml");
    let sequence = written.lines().find(|line| line.starts_with("sequence"));
    let (_, sequence) = sequence
        .expect("it has one")
        .split_once('[')
        .expect("of ports");
    let sequence = sequence.trim_end_matches(']').replace([',', '"'], " ");
    for secret in sequence.split_whitespace() {
        assert!(!said.contains(secret.trim_end_matches(":udp")), "{said}");
    }
    let again = scene.system.try_run("logknock init");
    assert!(!again.status.success(), "it overwrites nothing");

    let is_open = |scene: &Scene, when: &str| {
        assert_eq!(scene.reaches(3), [true; 2], "{when}");
    };
    scene.system.run(&step(&said, 1));
    is_open(&scene, "before the rules are loaded");
    scene.system.run(&step(&said, 2));
    assert_eq!(scene.reaches(2), [false; 2], "nobody has knocked");
    scene.session_goes_on("when the rules are loaded");
    let knock = step(&said, 3);
    let (knock, login) = knock.split_once(" && ").expect("it knocks and logs in");
    assert_eq!(login, "ssh HOST");
    for (src, host) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
        let knock = knock.replace("HOST", host).replace("SEQUENCE", &sequence);
        let knock = knock.replace(" knock ", &format!(" knock --source {src} "));
        scene.system.run(&format!("ip netns exec client {knock}"));
    }
    scene.sequence = Some(sequence);
    assert_eq!(scene.reaches(2), [true; 2], "whoever has knocked");
    scene.system.run(&step(&said, 4));
    scene.system.run(&step(&said, 5));
    let redirected = |scene: &Scene| {
        ["192.0.2.1", "2001:db8::1"].map(|to| {
            let line = format!(
                "ip netns exec client nc -z -w 1 -s {}3 {to} 8022",
                to.trim_end_matches('1')
            );
            scene.system.try_run(&line).status.success()
        })
    };
    for act in ["reload", "restart"] {
        scene.survives(&format!("systemctl {act} nftables"), false);
        assert_eq!(
            redirected(&scene),
            [false; 2],
            "the redirected port after {act}"
        );
    }
    scene.boots("nftables");
    assert_eq!(
        redirected(&scene),
        [false; 2],
        "the redirected port after a boot"
    );
    let doctor = scene.system.try_run("logknock doctor");
    let doctor = String::from_utf8_lossy(&doctor.stdout);
    let broken = doctor.lines().filter(|line| line.starts_with('✗'));
    // Of this machine, not of the host in it.
    let broken: Vec<_> = broken
        .filter(|line| !line.contains("dmesg_restrict"))
        .collect();
    assert!(broken.is_empty(), "{doctor}");

    scene.system.run("logknock rules --remove");
    is_open(&scene, "when all of it is taken away");
    assert_eq!(redirected(&scene), [true; 2], "all of it is taken away");
}

#[test]
fn init_finds_the_firewall_and_the_port_of_sshd() {
    let Some(system) = System::boot() else { return };
    let finds = |acts: &str, tool: &str, backend: &str| {
        system.run(&format!("rm -f /tmp/lk.toml; {acts}"));
        let said = system.run("logknock init --config /tmp/lk.toml");
        assert!(
            said.contains(&format!("rules --config /tmp/lk.toml --for {tool} --try")),
            "{said}"
        );
        let written = system.run("cat /tmp/lk.toml");
        assert!(
            written.contains(&format!("backend = \"{backend}\"")),
            "{written}"
        );
        // Not of the first network namespace, so the kernel would not log its packets.
        assert!(written.contains("sources = [\"nflog:5\"]"), "{written}");
        (said, written)
    };
    finds("nft flush ruleset", "nft", "nft");
    let had = find("ipset").map_or("iptables", |_| "ipset");
    finds(
        "iptables -A INPUT -p tcp --dport 25 -j DROP",
        "iptables",
        had,
    );
    system.run("iptables -F");
    if find("ufw").is_some() {
        finds("ufw allow 22/tcp; ufw --force enable", "ufw", "nft");
        system.run("ufw disable; nft flush ruleset");
    }
    if find("firewall-cmd").is_some() {
        finds(
            "systemctl start dbus firewalld && firewall-cmd --state",
            "firewalld",
            "nft",
        );
        system.run("systemctl stop firewalld");
    }
    let session = "SSH_CONNECTION='192.0.2.7 50123 192.0.2.1 2022'";
    let printed = system.run(&format!(
        "cd /tmp; {session} logknock init --config /tmp/no.toml --print; test ! -e no.toml"
    ));
    assert!(
        printed.contains("opens       = [\"2022:tcp\"]"),
        "{printed}"
    );
    assert!(
        printed.contains("# always_allow = [\"192.0.2.7\"]"),
        "{printed}"
    );
    if find("sshd").is_some() {
        let sshd = "mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /tmp/key; \
                    $(command -v sshd) -f /dev/null -h /tmp/key -p 2222";
        let (said, written) = finds(sshd, "nft", "nft");
        assert!(
            written.contains("opens       = [\"2222:tcp\"]"),
            "{written}"
        );
        assert!(said.contains("--wait 2222 && ssh -p 2222 HOST"), "{said}");
    } else {
        crate::need::need(&["sshd"]);
    }
    // In the first namespace with a log that can be read, that is believed.
    let here = crate::process::run(env!("CARGO_BIN_EXE_logknock"), ["init", "--print"]);
    let is_read = fs::File::open("/dev/kmsg").is_ok();
    assert_eq!(here.contains("sources = [\"kmsg\"]"), is_read, "{here}");
}
