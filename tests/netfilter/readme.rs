//! README and the page about knockd.conf, followed line by line by a new user on a host with iptables.
//!
//! The commands are taken out of the texts, so that a test follows what a reader reads. Three things are put in their
//! place: the ports of the knock, the client's address, and `ssh`, which here only connects.

use crate::lives_on::Scene;
use crate::turn::{LogAllNetns, Ring, Turn};

const README: &str = include_str!("../../README.md");
const KNOCKD_PAGE: &str = include_str!("../../docs/knockd.md");
/// A conf from a usual guide, for a host whose one interface is `eth0`.
const KNOCKD_CONF: &str = include_str!("../../fixtures/knockd/ubuntu-guide.conf");

/// A host that lets in ssh and nothing else, as many set-up guides leave it.
const IPTABLES: &str = "
systemctl stop logknock; rm -r /etc/logknock /var/lib/logknock
echo '192.0.2.1 gw.example' >>/etc/hosts
for tool in iptables ip6tables; do
    $tool -w -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    $tool -w -A INPUT -i lo -j ACCEPT
    $tool -w -A INPUT -p tcp --dport 22 -j ACCEPT
    $tool -w -P INPUT DROP
done
iptables -w -A INPUT -p icmp -j ACCEPT; ip6tables -w -A INPUT -p icmpv6 -j ACCEPT
";
const SSH: &str = "ssh() { nc -z -w 1 \"$1\" 22; }";

/// The lines of each block of shell commands under a heading.
fn blocks<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = document.split_once(heading).expect(heading);
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| {
            block
                .split("```")
                .next()
                .expect("an end")
                .trim_end()
                .lines()
        })
        .map(|lines| lines.map(str::trim).collect())
        .collect()
}

/// A command that a text names between backticks.
fn inline<'a>(document: &'a str, begin: &str) -> &'a str {
    let mut commands = document.split('`').skip(1).step_by(2);
    commands
        .find(|command| command.starts_with(begin))
        .expect(begin)
}

/// The rows of `doctor` that say something is broken on this host.
fn broken(scene: &Scene) -> Vec<String> {
    let doctor = scene.system.try_run("logknock doctor");
    let said = String::from_utf8_lossy(&doctor.stdout);
    let rows = said.lines().filter(|row| row.starts_with('✗'));
    // The sysctl belongs to the machine that runs the test.
    rows.filter(|row| !row.contains("dmesg_restrict"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_leads_a_new_user_with_iptables_to_a_guarded_port_and_back() {
    let Some(mut scene) = Scene::new(&["iptables", "ip6tables", "nc"]) else {
        return;
    };
    scene.system.run(IPTABLES);
    let blocks = blocks(README, "## Set up safely");
    let [set_up, knock, keep] = &blocks[..] else {
        panic!("{blocks:?}");
    };
    for line in set_up {
        if line.starts_with("logknock doctor") {
            assert!(broken(&scene).is_empty(), "{:?}", broken(&scene));
        } else {
            scene.system.run(line);
        }
        scene.session_goes_on(line);
    }
    assert_eq!(scene.reaches(2), [false; 2], "before any knock");

    let written = scene.system.run("cat /etc/logknock/logknock.toml");
    let sequence = written.lines().find(|line| line.starts_with("sequence"));
    let (_, sequence) = sequence
        .expect("a sequence")
        .split_once('[')
        .expect("ports");
    let sequence = sequence.trim_end_matches(']').replace([',', '"'], " ");
    let [knock] = &knock[..] else {
        panic!("{knock:?}")
    };
    let knocked = knock.replace("7000 8000:udp 9000", &sequence);
    assert_ne!(knocked, **knock);
    scene
        .system
        .run(&format!("ip netns exec client sh -c '{SSH}; {knocked}'"));
    assert_eq!(scene.reaches(3), [false; 2], "another address");
    scene.sequence = Some(sequence);

    for line in keep {
        scene.system.run(line);
        scene.session_goes_on(line);
    }
    scene.boots("");
    assert!(broken(&scene).is_empty(), "{:?}", broken(&scene));

    let open = inline(README, "logknock open ").replace("203.0.113.7", "192.0.2.3");
    scene.system.run(&open);
    assert_eq!(scene.reaches(3), [true, false], "after {open}");
    scene.system.run(inline(README, "logknock rules --remove"));
    assert_eq!(scene.reaches(3), [true; 2], "without the rules");
    scene.session_goes_on("without the rules");
    let left = scene
        .system
        .run("iptables-save; ip6tables-save; ls /etc/systemd/system");
    assert!(
        !left.contains("logknock-rules") && !left.contains("lk-"),
        "{left}"
    );
}

#[test]
fn the_page_about_knockd_leads_from_a_knockd_conf_to_a_door_that_opens() {
    let tools = ["iptables", "ip6tables", "knock", "nc"];
    let Some(mut scene) = Scene::new(&tools) else {
        return;
    };
    let _ring = Turn::at_ring(Ring::Shared);
    let _switch = LogAllNetns::on();
    scene.system.run(IPTABLES);
    // Its packets make the session known to conntrack, before nothing else lets it in.
    scene.session_goes_on("with the rules of the guide");
    let conf = KNOCKD_CONF.replace("enp0s3", "veth");
    scene.system.run(&format!(
        "iptables -w -D INPUT -p tcp --dport 22 -j ACCEPT
         cat >/etc/knockd.conf <<'END'\n{conf}END\n"
    ));
    let page = blocks(KNOCKD_PAGE, "# From a knockd.conf");
    let [prefix, steps] = &page[..] else {
        panic!("{page:?}")
    };
    let (_, comment) = KNOCKD_PAGE
        .split_once("```\n   #logknock: ")
        .expect("a comment");
    let comment = comment.lines().next().expect("a line");
    scene.system.run(&prefix.join("\n"));
    scene
        .system
        .run(&format!("echo '#logknock: {comment}' >>/etc/knockd.conf"));
    let [rules, check, follow] = &steps[..] else {
        panic!("{steps:?}")
    };
    scene.system.run(rules);
    let warned = scene.system.try_run(&format!("{check} 2>&1"));
    let warned = String::from_utf8_lossy(&warned.stdout).into_owned();
    assert!(warned.contains("published"), "{warned}");
    scene
        .system
        .run(&format!("setsid {follow} >/following 2>&1 </dev/null &"));
    scene
        .system
        .await_run("it follows the kernel's log", "grep -q follow /following");
    scene.session_goes_on("with the rules of the page");

    assert!(!scene.reaches(2)[0], "before any knock");
    let client = inline(README, "knock -d");
    let client = |ports: &str| format!("ip netns exec client {client} gw.example {ports}");
    scene.system.run(&client("7000 8000 9000"));
    scene.system.await_run(
        "the door opens",
        "ip netns exec client nc -z -w 1 -s 192.0.2.2 192.0.2.1 22",
    );
    assert!(!scene.reaches(3)[0], "another address");
    scene.system.run(&client("9000 8000 7000"));
    scene.system.await_run(
        "the door closes",
        "! ip netns exec client nc -z -w 1 -s 192.0.2.2 192.0.2.1 22",
    );
    scene.session_goes_on("when the door is closed");

    let convert = inline(KNOCKD_PAGE, "logknock convert ");
    scene
        .system
        .run(&format!("umask 077; {convert} >/converted.toml"));
    scene
        .system
        .run("logknock --config /converted.toml check --follow kmsg; test $? -le 1");
}
