//! `logknock init` on hosts with one firewall and another, and a new user who does what it prints.

use std::fs;

use crate::booted::Files;
use crate::debian::debian;
use crate::lab::PATIENCE;
use crate::lives_on::{NETWORK, Scene};
use crate::need::need;
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
/// The same in the two files of netfilter-persistent.
const RULES: &str = "\
*nat
-A PREROUTING -p tcp -m tcp --dport 8022 -j REDIRECT --to-ports 22
COMMIT
*filter
:INPUT DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
";
/// Where it is written what the service needs beside ipset.
const GUIDE: &str = include_str!("../../docs/firewalls.md");
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
/// A stranger, who has not knocked, tries to connect from the start of the network to its end. For IPv6 the stranger has
/// a /64 of its own, because the rules limit what they log of each /64.
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
            from=${net/db8::/db8:1::}3
            nc -z -w 1 -s $from ${net}1 $port 2>/dev/null && echo $net $port >>/got-in &
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

/// A firewall, as Debian packages it.
struct Way {
    /// What `--for` calls it.
    name: &'static str,
    /// What loads its rules, and the other packages of its kind, which are not there.
    service: &'static str,
    without: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const NFT: Way = Way {
    name: "nft",
    service: "nftables",
    without: "iptables-persistent netfilter-persistent ipset iptables",
    files: &[("etc/nftables.conf", NFTABLES_CONF)],
};
const IPTABLES: Way = Way {
    name: "iptables",
    service: "netfilter-persistent",
    without: "nftables",
    files: &[
        ("etc/iptables/rules.v4", RULES),
        ("etc/iptables/rules.v6", RULES),
    ],
};

/// A bare Debian with sshd, a network and a firewall, on which nobody has done anything yet.
fn new_machine(way: &Way) -> Option<System> {
    let files = Files::new(&["debootstrap", "dpkg-deb", "dpkg-shlibdeps"])?;
    let root = debian()?;
    let put = |path: &str, text: &str| files.put(path, text);
    put("new/network", NETWORK);
    put("new/stranger", STRANGER);
    way.files.iter().for_each(|(path, text)| put(path, text));
    put("root/.ssh/config", SSH_CONFIG);
    let units = "etc/systemd/system";
    put(&format!("{units}/network.service"), NETWORK_UNIT);
    put(&format!("{units}/stranger.service"), STRANGER_UNIT);
    let link = |at: &str, to: &str| {
        std::os::unix::fs::symlink(to, files.place(&format!("{units}/{at}"))).expect("a link");
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
    files.put_package("new/logknock.deb", "deb", &[]);
    let system = System(files.boot(&root, "multi-user.target"));
    system.run(KEY);
    system.run(&format!(
        "dpkg --purge {}; systemctl enable {service} && systemctl restart {service}",
        way.without,
        service = way.service
    ));
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

/// Follows the steps that `init` prints, to the last one.
fn follow_the_steps(way: &Way) -> Option<Scene> {
    let system = new_machine(way)?;
    system.run("dpkg -i /new/logknock.deb");
    let mut scene = Scene::of(system, SESSION);
    let over_ssh = "ip netns exec client ssh 192.0.2.1";
    let said = scene.system.run(&format!("{over_ssh} logknock init"));
    assert!(said.contains("this is an ssh session"), "{said}");
    let found = format!("the firewall is {};", way.name);
    assert!(said.contains(&found), "{said}");
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

    scene.system.run(&step(&said, 1));
    is_open(&scene, "before the rules are loaded");
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
    scene.system.run(STRANGERS_LEAVE);
    strangers_come(&scene);

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
    Some(scene)
}

fn is_open(scene: &Scene, when: &str) {
    assert_eq!(scene.reaches(3), [true; 2], "{when}");
}

fn got_in(scene: &Scene) -> String {
    scene.system.run("cat /got-in 2>/dev/null || true")
}

const STRANGERS_LEAVE: &str = "systemctl stop stranger && rm -f /got-in /tried";

fn strangers_come(scene: &Scene) {
    scene.system.run("systemctl start stranger");
    scene.system.await_run("strangers try", "test -s /tried");
}

fn nobody_got_in(scene: &Scene, when: &str) {
    assert_eq!(got_in(scene), "", "{when}");
    let since = scene.system.run("wc -l </tried");
    scene.system.await_run(
        "strangers try",
        &format!("test $(wc -l </tried) -gt {since}"),
    );
    assert_eq!(got_in(scene), "", "{when}");
}

/// Boots, knocks, and takes all of it away again.
fn boots_and_leaves(mut scene: Scene) {
    scene.system.0.reboot();
    nobody_got_in(&scene, "from before the reboot until after it");
    assert_eq!(scene.reaches(2), [false; 2], "nobody has knocked since");
    scene.knock();
    scene.opens_session();
    let doctor = doctor(&scene);
    // Of this machine, not of the host in it.
    let is_broken = |line: &&str| line.starts_with('✗') && !line.contains("dmesg_restrict");
    assert_eq!(doctor.lines().find(is_broken), None, "{doctor}");
    assert!(doctor.contains("✓ firewall"), "{doctor}");
    nobody_got_in(&scene, "to the end");

    scene.system.run("logknock rules --remove");
    is_open(&scene, "when all of it is taken away");
    let redirected = "ip netns exec client nc -z -w 1 -s 192.0.2.3 192.0.2.1 8022";
    scene.system.run(redirected);
    scene.session_goes_on("when all of it is taken away");
}

fn doctor(scene: &Scene) -> String {
    let said = scene.system.try_run("logknock doctor").stdout;
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn the_steps_that_init_prints_lock_the_user_never_out_and_let_no_other_in() {
    let Some(mut scene) = follow_the_steps(&NFT) else {
        return;
    };
    // The include makes it one transaction, so there is no moment in between.
    for _ in 0..10 {
        scene.survives("systemctl reload nftables", false);
    }
    nobody_got_in(&scene, "while the rules were loaded again");
    // A restart flushes first, for as long as it takes.
    scene.system.run(STRANGERS_LEAVE);
    scene.survives("systemctl restart nftables", false);
    strangers_come(&scene);
    nobody_got_in(&scene, "after the restart of nftables");
    boots_and_leaves(scene);
}

#[test]
fn with_iptables_they_do_too_and_what_netfilter_persistent_saves_opens_nothing() {
    let Some(mut scene) = follow_the_steps(&IPTABLES) else {
        return;
    };
    // Without a backend they would be nft's.
    let line = "sed '/^.firewall/,/^backend/d; /^cmd_timeout/d; s/^opens.*/start_command = \"true\"/' /etc/logknock/logknock.toml >/other.toml
                chmod 600 /other.toml; logknock --config /other.toml rules --install 2>&1; true";
    let said = scene.system.run(line);
    assert!(said.contains("nft is not installed"), "{said}");
    let status = "logknock reload; logknock status | grep '^firewall: ' | grep -q";
    scene.system.await_run(
        "the sandbox keeps iptables-save from it",
        &format!("{status} 'unknown: .* ipset'"),
    );
    let said = doctor(&scene);
    let row = "? daemon         it cannot watch the rules: ";
    assert!(said.contains(row), "{said}");
    scene.system.run(&format!(
        "mkdir /etc/systemd/system/logknock.service.d && cat >/etc/systemd/system/logknock.service.d/ipset.conf <<'END'
[Service]\n{}END\nsystemctl daemon-reload; systemctl restart logknock",
        drop_in()
    ));
    scene.knock();
    scene.system.await_run(
        "what the guide says lets it see them",
        &format!("{status} 'as configured'"),
    );
    let settled = "timeout 20 sh -c 'while systemctl list-jobs | grep -q logknock-rules; do sleep 0.05; done'";
    let again = format!("systemctl restart netfilter-persistent\n{settled}");
    // Its rules replace the jump from INPUT until the unit has run.
    scene.system.run(STRANGERS_LEAVE);
    scene.survives(&again, false);
    strangers_come(&scene);
    nobody_got_in(&scene, "after the restart of netfilter-persistent");

    // A set that is made later keeps the whole file from being loaded.
    scene.system.run("netfilter-persistent save");
    let said = doctor(&scene);
    for fix in said.lines().filter_map(|line| line.split_once("→ sed ")) {
        scene.system.run(&format!("sed {}", fix.1));
    }
    scene.system.run("! grep LOGKNOCK /etc/iptables/*");

    // A rule has no timeout, and no door that is closed opens with it.
    let config = "/etc/logknock/logknock.toml";
    scene.system.run(&format!(
        "sed -i 's/\"ipset\"/\"iptables\"/' {config} && logknock rules --remove &&
         logknock reload && logknock rules --install && systemctl start stranger"
    ));
    scene.knock();
    scene
        .system
        .run("logknock rules --try 4s && netfilter-persistent save");
    assert_eq!(scene.reaches(2), [true; 2], "it is on trial, and open");
    scene.system.run("logknock close --all");
    eventually("the trial is over", PATIENCE, || {
        let over = "! test -e /run/logknock-rules/undo";
        scene.system.try_run(over).status.success()
    });
    assert_eq!(scene.reaches(2), [false; 2], "the trial is undone");
    scene.system.run(&again);
    assert_eq!(scene.reaches(2), [false; 2], "the saved rules are loaded");
    scene.system.run(STRANGERS_LEAVE);
    strangers_come(&scene);
    boots_and_leaves(scene);
}

/// What the guide says that the service needs.
fn drop_in() -> String {
    let (_, rest) = GUIDE
        .split_once("```ini\n[Service]\n")
        .expect("it is there");
    let (drop_in, _) = rest.split_once("```").expect("a block has an end");
    drop_in.to_owned()
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
