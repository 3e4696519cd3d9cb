//! The client on the wire, and other people's clients at logknock's door.

use std::process::Output;
use std::thread;
use std::time::Duration;

use crate::daemon::{Daemon, nft_door};
use crate::firewall;
use crate::host::Reach;
use crate::kmsg::Kmsg;
use crate::knockd::Knockd;
use crate::lab::{Family, Lab, PATIENCE, ssh};
use crate::process::{Running, eventually, finish, run};
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

const MIXED: &str = "7000, \"8000:udp\", 9000";

#[test]
fn a_hit_is_one_packet_in_its_turn_and_is_never_repeated() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    sends_three_packets(&lab, "192.0.2.1", "SRC=192.0.2.2 DST=192.0.2.1 LEN=");
}

#[test]
fn a_hit_is_one_packet_over_ipv6_too() {
    let Some(lab) = Lab::new(Ring::Shared, &[]) else {
        return;
    };
    firewall::nft(&lab);
    let to = "DST=2001:0db8:0000:0000:0000:0000:0000:0001 ";
    sends_three_packets(&lab, "2001:db8::1", to);
}

#[test]
fn knockd_opens_to_the_client() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd"]) else {
        return;
    };
    firewall::nft(&lab);
    let knockd = Knockd::start(&lab, "7000,8000:udp,9000");
    let done = knock(&lab, "192.0.2.1 7000 8000:udp 9000 -d 20");
    assert!(done.status.success(), "{done:?}");
    eventually("knockd opens", PATIENCE, || knockd.opened() == 1);
}

#[test]
fn a_wait_ends_well_when_the_door_is_open() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    let (_syslog, _daemon) = guarded(&lab, MIXED);
    for server in ["192.0.2.1", "2001:db8::1"] {
        let done = knock(&lab, &format!("{server} 7000 8000:udp 9000 --wait ssh"));
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(ssh(&lab.far, Family::V4), Reach::Closed);
}

#[test]
fn a_wait_fails_when_the_knock_is_wrong() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    let (_syslog, mut daemon) = guarded(&lab, MIXED);
    let line = "192.0.2.1 7000 8000 9000 --wait 22 --timeout 2s";
    let done = knock(&lab, line);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    daemon.settle(&lab, &lab.near, Family::V4);
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    // The same command, with the right knock.
    let done = knock(&lab, &line.replace("8000", "8000:udp"));
    assert!(done.status.success(), "{done:?}");
}

/// The door is strict, so this also shows that no try to connect falls into the second knock.
#[test]
fn the_second_knock_of_a_wait_makes_good_what_the_network_lost() {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd"]) else {
        return;
    };
    let (_syslog, _daemon) = guarded(&lab, MIXED);
    let lossy = "table inet lossy { chain before { \
        type filter hook prerouting priority -500; udp dport 8000 drop; }; }";
    finish(lab.server.command("nft").arg(lossy));
    let mut kernel = Kmsg::from_now();
    let mut argv = vec!["ip", "netns", "exec", lab.near.namespace()];
    argv.extend([env!("CARGO_BIN_EXE_logknock"), "knock", "192.0.2.1"]);
    argv.extend([
        "7000",
        "8000:udp",
        "9000",
        "--wait",
        "22",
        "--timeout",
        "8s",
    ]);
    let mut client = Running::start("logknock knock", argv, |_| {});
    eventually("the first knock is over", PATIENCE, || {
        let lines = kernel.lines(&lab.prefix);
        lines.iter().any(|line| line.contains(" DPT=22 "))
    });
    finish(
        lab.server
            .command("nft")
            .args(["delete", "table", "inet", "lossy"]),
    );
    eventually("the client ends", PATIENCE, || client.ended().is_some());
    assert!(client.ended().is_some_and(|status| status.success()));
}

/// Open Sesamy in its own form: rules of the kernel that count, and no daemon.
#[test]
fn counts_open_the_kernels_own_open_sesamy() {
    let Some(lab) = Lab::new(Ring::Shared, &["iptables"]) else {
        return;
    };
    let iptables = |rule: &str| {
        let words = rule.split_whitespace();
        finish(lab.server.command("iptables").arg("-w").args(words));
    };
    iptables("-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    iptables("-A INPUT -p tcp --syn --dport 443 -m recent --name knocks --set -j DROP");
    // Hits in the last 2, 4, 6, 8 seconds: exactly these, for the counts 1, 3, 1, 2.
    for (seconds, hits) in [(2, 2), (4, 3), (6, 6), (8, 7)] {
        let check = format!(
            "-A INPUT -p tcp --dport 22 -m recent --name knocks --rcheck --seconds {seconds}"
        );
        iptables(&format!("{check} --hitcount {} -j DROP", hits + 1));
        let check = check.replace("--rcheck", "! --rcheck");
        iptables(&format!("{check} --hitcount {hits} -j DROP"));
    }
    iptables("-A INPUT -p tcp --dport 22 -j ACCEPT");
    iptables("-P INPUT DROP");
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    let wrong = "192.0.2.1 --counts 1321 --port 443 --window 2s --wait 22 --timeout 1s";
    assert_eq!(knock(&lab, wrong).status.code(), Some(1));
    // What was wrong must be forgotten first: the time itself is what is waited for.
    thread::sleep(Duration::from_secs(8));
    let done = knock(&lab, &wrong.replace("1321", "1312"));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(ssh(&lab.far, Family::V4), Reach::Closed);
}

#[test]
fn knockds_client_opens() {
    opens_to("knock", "knock -d 100 192.0.2.1 7000 8000 9000");
}

#[test]
fn netcat_opens() {
    opens_to(
        "nc",
        "for port in 7000 8000 9000; do nc -z -w 1 192.0.2.1 $port; done",
    );
}

#[test]
fn nmap_opens() {
    opens_to(
        "nmap",
        "for port in 7000 8000 9000; do nmap -n -Pn --max-retries 0 -p $port 192.0.2.1; done",
    );
}

#[test]
fn curl_opens() {
    opens_to(
        "curl",
        "for port in 7000 8000 9000; do \
            curl --silent --noproxy '*' --connect-timeout 1 http://192.0.2.1:$port/; \
        done",
    );
}

#[test]
fn a_loop_in_bash_opens() {
    opens_to(
        "bash",
        "for port in 7000 8000 9000; do timeout 1 bash -c \": > /dev/tcp/192.0.2.1/$port\"; done",
    );
}

/// Each with the code of another step of time, as a code opens once. Those to come are right because of `skew`.
#[test]
fn the_code_of_an_authenticator_app_opens_to_clients_that_know_nothing_of_it() {
    let Some(lab) = Lab::new(Ring::Shared, &["knock", "nc", "nmap"]) else {
        return;
    };
    firewall::nft(&lab);
    let key = lab.write("key", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n");
    let key = key.to_str().expect("a plain path");
    let code = format!("totp = {{ secret_file = \"{key}\", code = {{ skew = 10 }} }}\nseq_timeout");
    let door = nft_door("7000, 9000", "60s", "1s").replacen("seq_timeout", &code, 1);
    let mut daemon = Daemon::start(&lab, "kmsg", &door);

    let line = format!("192.0.2.1 7000 9000 --totp {key} --code-base 21000 --wait 22");
    let done = knock(&lab, &line);
    assert!(done.status.success(), "{done:?}");
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970");
    let scripts = [
        "knock -d 50 192.0.2.1 $ports",
        "for port in $ports; do nc -z -w 1 192.0.2.1 $port; done",
        "for port in $ports; do nmap -n -Pn --max-retries 0 -p $port 192.0.2.1; done",
    ];
    for (later, script) in (1..).zip(scripts) {
        eventually("the door closes", PATIENCE, || {
            ssh(&lab.near, Family::V4) == Reach::Closed
        });
        let at = (now.as_secs() + 30 * later).to_string();
        let shown = run(
            env!("CARGO_BIN_EXE_logknock"),
            [
                "totp",
                "--secret-file",
                key,
                "--code-base",
                "21000",
                "--at",
                &at,
            ],
        );
        let ports = format!(
            "7000 9000 {}",
            shown.lines().next().expect("a line of ports")
        );
        let mut shell = lab.near.command("sh");
        let done = shell.args(["-c", script]).env("ports", ports).output();
        eventually(&format!("{script} opens: {done:?}"), PATIENCE, || {
            ssh(&lab.near, Family::V4) == Reach::Open
        });
    }
    daemon.must_run();
}

fn sends_three_packets(lab: &Lab, server: &str, words: &str) {
    let mut kernel = Kmsg::from_now();
    let done = knock(lab, &format!("{server} 7000 8000:udp 9000 -d 300"));
    assert!(done.status.success(), "{done:?}");
    // The kernel repeats a SYN after a second: this time itself is what is tested.
    thread::sleep(Duration::from_millis(1500));
    let lines = kernel.stamped(&lab.prefix);
    let ports = [
        ["PROTO=TCP ", " DPT=7000 "],
        ["PROTO=UDP ", " DPT=8000 LEN=9"],
        ["PROTO=TCP ", " DPT=9000 "],
    ];
    assert_eq!(lines.len(), ports.len(), "{lines:#?}");
    for ((_, line), port) in lines.iter().zip(ports) {
        assert!(line.contains(words), "{line}");
        assert!(port.iter().all(|word| line.contains(word)), "{line}");
    }
    for pair in lines.windows(2) {
        // The kernel's clock of the log and this one may differ by a little.
        let least = pair[0].0 + Duration::from_millis(295);
        assert!(pair[1].0 >= least, "{lines:#?}");
    }
}

/// Runs the client on the near host, to its end.
fn knock(lab: &Lab, line: &str) -> Output {
    let mut command = lab.near.command(env!("CARGO_BIN_EXE_logknock"));
    command.arg("knock").args(line.split_whitespace());
    command.output().expect("the client runs")
}

/// A firewall, and a logknock that follows the file of an rsyslogd.
fn guarded(lab: &Lab, sequence: &str) -> (Rsyslog, Daemon) {
    firewall::nft(lab);
    let syslog = Rsyslog::start(lab, Module::Imkmsg);
    let source = syslog.log().display().to_string();
    let daemon = Daemon::start(lab, &source, &nft_door(sequence, "25s", "10s"));
    (syslog, daemon)
}

/// logknock opens to someone who knocks with `script`.
fn opens_to(tool: &str, script: &str) {
    let Some(lab) = Lab::new(Ring::Shared, &["rsyslogd", tool]) else {
        return;
    };
    let (_syslog, _daemon) = guarded(&lab, "7000, 8000, 9000");
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    let mut shell = lab.near.command("sh");
    let done = shell.args(["-c", script]).output().expect("a shell runs");
    let opens = || ssh(&lab.near, Family::V4) == Reach::Open;
    eventually(&format!("{tool} opens: {done:?}"), PATIENCE, opens);
}
