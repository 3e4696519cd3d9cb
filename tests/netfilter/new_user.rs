//! `logknock init` on hosts with one firewall and another, and a new user who does what it prints.

use std::fs;
use std::path::Path;

use crate::booted::{self, Booted};
use crate::debian::debian;
use crate::lab::PATIENCE;
use crate::lives_on::{NETWORK, Scene};
use crate::need::need;
use crate::packages::build;
use crate::process::{eventually, find};
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
/// As the network of any host comes up in a boot.
const NETWORK_UNIT: &str = "\
[Unit]
DefaultDependencies=no
Wants=network-pre.target network.target
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /new/network
";
/// Somebody who has not knocked tries all the time, from the first moment of the network to the last.
const STRANGER_UNIT: &str = "\
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
After=network.service
Requires=network.service
[Service]
ExecStart=/sbin/ip netns exec client bash /new/stranger
";
const STRANGER: &str = r"
while :; do
    for port in 22 8022; do
        for net in 192.0.2. 2001:db8::; do
            nc -z -w 1 -s ${net}3 ${net}1 $port 2>/dev/null && echo $net $port >>/got-in &
        done
    done
    echo >>/tried
    sleep 0.2
done
";
const SSH_CONFIG: &str = "\
Host *
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
BatchMode yes
ConnectTimeout 20
";
const KEY: &str = "ssh-keygen -q -t ed25519 -N '' -f ~root/.ssh/id_ed25519 && \
     cp ~root/.ssh/id_ed25519.pub ~root/.ssh/authorized_keys";
/// A session that sends what is written to `/talk`.
const SESSION: &str = r#"
rm -f /talk && mkfifo /talk
systemd-run --quiet --unit=session --collect ip netns exec client sh -c \
    'exec ssh 192.0.2.1 "cat >>/heard" <>/talk'
"#;

/// A bare Debian with sshd, a network and nftables, on which nobody has done anything yet.
fn new_machine() -> Option<System> {
    if !need(&booted::TOOLS) || !need(&["debootstrap", "dpkg-deb", "dpkg-shlibdeps"]) {
        return None;
    }
    let root = debian()?;
    let dir = tempfile::tempdir().expect("a directory");
    let files = dir.path().join("files");
    let place = |path: &str| {
        let path = files.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        path
    };
    let put = |path: &str, text: &str| fs::write(place(path), text).expect("a file");
    put("new/network", NETWORK);
    put("new/stranger", STRANGER);
    put("etc/nftables.conf", NFTABLES_CONF);
    put("root/.ssh/config", SSH_CONFIG);
    let units = "etc/systemd/system";
    put(&format!("{units}/network.service"), NETWORK_UNIT);
    put(&format!("{units}/stranger.service"), STRANGER_UNIT);
    let link = |at: &str, to: &str| {
        std::os::unix::fs::symlink(to, place(&format!("{units}/{at}"))).expect("a link");
    };
    for unit in ["network.service", "stranger.service"] {
        let wanted = format!("multi-user.target.wants/{unit}");
        link(&wanted, &format!("/etc/systemd/system/{unit}"));
    }
    // What there is no terminal and no hardware for.
    for unit in [
        "getty.target",
        "systemd-udevd.service",
        "systemd-udev-trigger.service",
    ] {
        link(unit, "/dev/null");
    }
    let deb = build("deb", dir.path(), &[]);
    fs::copy(deb, place("new/logknock.deb")).expect("a copy");
    let booted = Booted::start(Path::new(&root), &files, "multi-user.target");
    let system = System(booted);
    system.run(KEY);
    system.run("systemctl enable --now nftables");
    Some(system)
}

/// The command of a step that `init` has printed.
fn step(said: &str, number: u8) -> String {
    let line = said
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("{number}. ")));
    let (_, command) = line.expect(said).split_once(": ").expect(said);
    command.trim().to_owned()
}

/// The sequence of a configuration, as `knock` takes it; nothing of it is in what `init` has `said`.
fn sequence_of(written: &str, said: &str) -> String {
    let sequence = written.lines().find(|line| line.starts_with("sequence"));
    let (_, sequence) = sequence
        .expect("it has one")
        .split_once('[')
        .expect("of ports");
    let sequence = sequence.trim_end_matches(']').replace([',', '"'], " ");
    for secret in sequence.split_whitespace() {
        assert!(!said.contains(secret.trim_end_matches(":udp")), "{said}");
    }
    sequence
}

#[test]
fn the_steps_that_init_prints_lock_the_user_never_out_and_let_no_other_in() {
    let Some(system) = new_machine() else { return };
    system.run("dpkg -i /new/logknock.deb");
    let mut scene = Scene::of(system, SESSION);
    let over_ssh = "ip netns exec client ssh 192.0.2.1";
    let said = scene.system.run(&format!("{over_ssh} logknock init"));
    assert!(said.contains("this is an ssh session"), "{said}");
    assert_eq!(
        scene.system.run("stat -c %a /etc/logknock/logknock.toml"),
        "600\n"
    );
    let written = scene.system.run("cat /etc/logknock/logknock.toml");
    let sequence = sequence_of(&written, &said);
    let again = scene.system.try_run("logknock init");
    assert!(!again.status.success(), "it overwrites nothing");

    // On a busy machine the 30 s of it are over before everything has been looked at.
    scene
        .system
        .run("sed -i 's/^cmd_timeout = .*/cmd_timeout = \"1h\"/' /etc/logknock/logknock.toml");

    let is_open = |scene: &Scene, when: &str| {
        assert_eq!(scene.reaches(3), [true; 2], "{when}");
    };
    scene.system.run(&step(&said, 1));
    is_open(&scene, "before the rules are loaded");
    let got_in = |scene: &Scene| scene.system.run("cat /got-in 2>/dev/null || true");
    eventually(
        "a stranger gets in by both families and ports",
        PATIENCE,
        || {
            let got_in = got_in(&scene);
            ["192.0.2. ", "2001:db8:: "].iter().all(|net| {
                ["22\n", "8022\n"]
                    .iter()
                    .all(|port| got_in.contains(&format!("{net}{port}")))
            })
        },
    );
    scene.system.run(&step(&said, 2));
    assert_eq!(scene.reaches(2), [false; 2], "nobody has knocked");
    scene.session_goes_on("when the rules are loaded");
    let strangers_leave = "systemctl stop stranger && rm -f /got-in /tried";
    let strangers_come = |scene: &Scene| {
        scene.system.run("systemctl start stranger");
        scene.system.await_run("strangers try", "test -s /tried");
    };
    scene.system.run(strangers_leave);
    strangers_come(&scene);
    let nobody_got_in = |scene: &Scene, when: &str| {
        assert_eq!(got_in(scene), "", "{when}");
        let since = scene.system.run("wc -l </tried");
        scene.system.await_run(
            "strangers try",
            &format!("test $(wc -l </tried) -gt {since}"),
        );
        assert_eq!(got_in(scene), "", "{when}");
    };

    let knock = step(&said, 3);
    assert!(knock.ends_with(" && ssh HOST"), "{knock}");
    for host in ["192.0.2.1", "2001:db8::1"] {
        let knock = knock.replace("HOST", host).replace("SEQUENCE", &sequence);
        scene.system.run(&format!(
            "ip netns exec client sh -c '{knock} echo I am in' | grep -q 'I am in'"
        ));
    }
    scene.sequence = Some(sequence);
    assert_eq!(scene.reaches(2), [true; 2], "whoever has knocked");
    scene.system.run(&step(&said, 4));
    scene.system.run(&step(&said, 5));
    // The include makes it one transaction, so there is no moment in between.
    for _ in 0..10 {
        scene.survives("systemctl reload nftables", false);
    }
    nobody_got_in(&scene, "while the rules were loaded again");
    // A restart flushes first, for as long as it takes.
    scene.system.run(strangers_leave);
    scene.survives("systemctl restart nftables", false);
    strangers_come(&scene);
    nobody_got_in(&scene, "after the restart of nftables");

    scene.system.0.reboot();
    nobody_got_in(&scene, "from before the reboot until after it");
    assert_eq!(scene.reaches(2), [false; 2], "nobody has knocked since");
    scene.knock();
    scene.opens_session();
    scene.survives("systemctl reload nftables", false);
    let doctor = scene.system.try_run("logknock doctor");
    let doctor = String::from_utf8_lossy(&doctor.stdout);
    let broken = doctor.lines().filter(|line| line.starts_with('✗'));
    // Of this machine, not of the host in it.
    let broken: Vec<_> = broken
        .filter(|line| !line.contains("dmesg_restrict"))
        .collect();
    assert!(
        broken.is_empty() && doctor.contains("✓ firewall"),
        "{doctor}"
    );
    nobody_got_in(&scene, "to the end");

    scene.system.run("logknock rules --remove");
    is_open(&scene, "when all of it is taken away");
    let redirected = "ip netns exec client nc -z -w 1 -s 192.0.2.3 192.0.2.1 8022";
    scene.system.run(redirected);
    scene.session_goes_on("when all of it is taken away");
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
        need(&["sshd"]);
    }
    // In the first namespace with a log that can be read, that is believed.
    let here = crate::process::run(env!("CARGO_BIN_EXE_logknock"), ["init", "--print"]);
    let is_read = fs::File::open("/dev/kmsg").is_ok();
    assert_eq!(here.contains("sources = [\"kmsg\"]"), is_read, "{here}");
}
