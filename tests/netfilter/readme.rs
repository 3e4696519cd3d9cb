//! README and the pages under `docs/`, followed line by line by a new user with nft, with iptables and with a
//! knockd.conf; and what else they show, run on a host.
//!
//! The commands are taken out of the texts, so that a test follows what a reader reads. Three things are put in their
//! place: the ports of the knock, the client's address, and `ssh`, which here only connects.

use crate::lives_on::Scene;
use crate::turn::{LogAllNetns, Ring, Turn};

const README: &str = include_str!("../../README.md");
const SETUP_PAGE: &str = include_str!("../../docs/setup.md");
const FIREWALLS_PAGE: &str = include_str!("../../docs/firewalls.md");
const SOURCES_PAGE: &str = include_str!("../../docs/sources.md");
const KNOCKING_PAGE: &str = include_str!("../../docs/knocking.md");
const TROUBLESHOOTING_PAGE: &str = include_str!("../../docs/troubleshooting.md");
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
pub(crate) fn blocks<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
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
pub(crate) fn inline<'a>(document: &'a str, begin: &str) -> &'a str {
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

/// A new user on this host does what a text says, from no configuration to rules that stay.
fn sets_up(scene: &mut Scene, set_up: &[&str], knock: &str, keep: &[&str]) {
    for line in set_up {
        if line.starts_with("logknock doctor") {
            assert!(broken(scene).is_empty(), "{:?}", broken(scene));
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
    let knocked = knock.replace("7000 8000:udp 9000", &sequence);
    assert_ne!(knocked, knock);
    scene
        .system
        .run(&format!("ip netns exec client sh -c '{SSH}; {knocked}'"));
    assert_eq!(scene.reaches(3), [false; 2], "another address");
    scene.sequence = Some(sequence);

    for line in keep.iter().filter(|line| **line != "logknock doctor") {
        scene.system.run(line);
        scene.session_goes_on(line);
    }
    scene.boots("");
    assert!(broken(scene).is_empty(), "{:?}", broken(scene));
}

#[test]
fn the_page_about_setting_up_leads_a_new_user_with_nft_to_a_guarded_port_and_back() {
    let Some(mut scene) = Scene::new(&["nft", "nc"]) else {
        return;
    };
    scene.system.run(
        "systemctl stop logknock; rm -r /etc/logknock /var/lib/logknock
         echo '192.0.2.1 gw.example' >>/etc/hosts",
    );
    let step = |heading: &str| blocks(SETUP_PAGE, heading).concat();
    let set_up = ["## 1.", "## 2.", "## 3."].map(step).concat();
    let [knock] = step("## 4.")[..] else {
        panic!("one knock")
    };
    sets_up(&mut scene, &set_up, knock, &step("## 5."));
    scene.system.run(&step("## Uninstall").join("\n"));
    assert_eq!(scene.reaches(3), [true; 2], "without the rules");
    scene.session_goes_on("without the rules");
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
    let [knock] = &knock[..] else {
        panic!("{knock:?}")
    };
    sets_up(&mut scene, set_up, knock, keep);

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
    scene.system.run(&format!(
        "setsid {follow} >/following 2>&1 </dev/null & echo $! >/follower"
    ));
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

    scene
        .system
        .run("kill $(cat /follower); mkdir /etc/logknock");
    let service = blocks(KNOCKD_PAGE, "## As a service").concat();
    scene.system.run(&service.join("\n"));
    scene.system.run(&client("7000 8000 9000"));
    scene.system.await_run(
        "the service opens the door",
        "ip netns exec client nc -z -w 1 -s 192.0.2.2 192.0.2.1 22",
    );
}

#[test]
fn the_commands_of_the_pages_about_firewalls_and_sources_run() {
    let Some(scene) = Scene::new(&["nft", "iptables", "rsyslogd", "nc"]) else {
        return;
    };
    let loads = FIREWALLS_PAGE.split('`').skip(1).step_by(2);
    let loads = loads.filter(|command| command.ends_with(" --load"));
    let mut checked = 0;
    for load in loads {
        // The other firewalls are tested where they run.
        if load.contains("ufw") || load.contains("firewalld") {
            continue;
        }
        let backend = if load.contains("iptables") {
            "ipset"
        } else {
            "nft"
        };
        scene.system.run(&format!(
            "sed -i 's/^backend = .*/backend = \"{backend}\"/' /etc/logknock/logknock.toml"
        ));
        scene.system.run(load);
        assert_eq!(scene.reaches(3), [false; 2], "{load}");
        scene
            .system
            .run(inline(FIREWALLS_PAGE, "logknock rules --remove"));
        assert_eq!(scene.reaches(3), [true; 2], "after --remove of {load}");
        checked += 1;
    }
    assert_eq!(checked, 2);

    // Doors with commands of their own have no place in the kernel.
    scene
        .system
        .run("sed -i '/^.door.rule/,$d' /etc/logknock/logknock.toml");
    for line in blocks(FIREWALLS_PAGE, "## Without a daemon").concat() {
        scene.system.run(line);
        assert_eq!(scene.reaches(3), [false; 2], "{line}");
    }

    let block = blocks(SOURCES_PAGE, "## A file that only the kernel")
        .concat()
        .join("\n");
    let (write, restart) = block.rsplit_once('\n').expect("a last line");
    assert_eq!(restart, "systemctl restart rsyslog");
    scene
        .system
        .run(&format!("mkdir -p /etc/rsyslog.d\n{write}"));
    scene
        .system
        .run("echo 'module(load=\"imklog\")' >/lab.conf");
    scene
        .system
        .run("cat /etc/rsyslog.d/10-logknock.conf >>/lab.conf; rsyslogd -N1 -f /lab.conf");
}

#[test]
fn the_commands_that_look_and_the_code_of_an_app_run_as_the_pages_show_them() {
    let Some(scene) = Scene::new(&["nft", "nc"]) else {
        return;
    };
    scene.system.run("logknock rules --load");
    scene.system.knock("203.0.113.7", [7101, 8202, 9303]);
    let is_open = "logknock status | grep -q 203.0.113.7";
    scene.system.await_run("the door opens", is_open);
    scene
        .system
        .run("cp /var/log/knock.log /var/log/kern.log; : >/var/log/kern.log.1");
    for heading in [
        "## A knock does not open the door",
        "## Test a configuration against a log",
        "## See what happened in a log",
    ] {
        for line in blocks(TROUBLESHOOTING_PAGE, heading).concat() {
            let said = scene.system.run(&format!(
                "cd /tmp && {line} && cat knocks.html 2>/dev/null; true"
            ));
            assert!(said.contains("203.0.113.7"), "{line}: {said}");
        }
    }

    let new = blocks(KNOCKING_PAGE, "## A code from any authenticator app").concat();
    let said = scene.system.run(&new.join("\n"));
    assert!(said.contains("secret_file"), "{said}");
    let (_, door) = KNOCKING_PAGE.split_once("```toml\n").expect("a door");
    let door = door.split("```").next().expect("an end");
    scene.system.run(&format!(
        "sed -i '/^.door.ssh/,$d' /etc/logknock/logknock.toml
         cat >>/etc/logknock/logknock.toml <<'END'\n{door}END\nlogknock check && logknock totp --door ssh"
    ));
}
