//! The set-ups of the usual guides, as they are: their knockd.conf, the real iptables, the real `knock`.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::firewall;
use crate::host::Reach;
use crate::journald::Journald;
use crate::knockd::Knockd;
use crate::lab::{Family, Lab, PATIENCE, ssh};
use crate::process::{eventually, finish};
use crate::rsyslog::{Module, Rsyslog};
use crate::turn::Ring;

/// A file of `fixtures/knockd`, moved into the lab: its log, its interface and nothing else.
fn guide(name: &str, log: &Path) -> String {
    let path = format!("{}/fixtures/knockd/{name}.conf", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("the fixture is there");
    text.replace("/var/log/knockd.log", log.to_str().expect("a plain path"))
        .replace("enp0s3", "veth-near")
}

/// The classic guide: `-I` and `-D` by two doors, and a log file that people read.
#[test]
fn the_centos_guide_works_as_it_is() {
    let Some(lab) = Lab::new(Ring::Shared, &["iptables", "ip6tables", "knock"]) else {
        return;
    };
    firewall::iptables(&lab, ["iptables", "ip6tables"]);
    let log = lab.record("knockd.log");
    let conf = lab.write("knockd.conf", &guide("centos-guide", &log));
    let daemon = Daemon::on_knockd_conf(&lab, &conf);
    opens_and_closes(&lab, &["-v"], &[]);
    assert!(daemon.stop().success());
    let said = fs::read_to_string(&log).expect("the log is there");
    let said = without_stamps(&said);
    let of = |door: &str| -> Vec<&String> {
        let is_of = |line: &&String| line.contains(&format!("{door}: "));
        said.iter().filter(is_of).collect()
    };
    let expected = |door: &str, how: &str| {
        let from = "192.0.2.2";
        let mut lines: Vec<_> = (1..=3)
            .map(|stage| format!("{from}: {door}: Stage {stage}"))
            .collect();
        lines.push(format!("{from}: {door}: OPEN SESAME"));
        lines.push(format!(
            "{door}: running command: /sbin/iptables {how} INPUT -s {from} -p tcp --dport 22 -j ACCEPT"
        ));
        lines
    };
    // The last knock at each door is the first at the other, which knockd would not look at. Where it is
    // repeated in time, nothing is said of that.
    let (open, close) = (of("openSSH"), of("closeSSH"));
    assert_eq!(
        open[..5].iter().copied().cloned().collect::<Vec<_>>(),
        expected("openSSH", "-I")
    );
    let expected = expected("closeSSH", "-D");
    assert_eq!(close.first().copied(), expected.first());
    let last: Vec<_> = close.into_iter().rev().take(4).rev().cloned().collect();
    assert_eq!(last, expected[1..]);
    assert_eq!(
        said.first().map(String::as_str),
        Some("starting up, listening on kmsg")
    );
    assert_eq!(said.last().map(String::as_str), Some("shutting down"));
}

/// Time to type by hand, an earlier rule that would win over an appended one, a session that lives on,
/// and options behind the ports.
#[test]
fn the_ubuntu_guide_works_as_it_is() {
    let Some(lab) = Lab::new(Ring::Shared, &["iptables", "ip6tables", "knock"]) else {
        return;
    };
    firewall::iptables(&lab, ["iptables", "ip6tables"]);
    finish(
        lab.server
            .command("iptables")
            .args("-w -A INPUT -p tcp --dport 22 -j DROP".split(' ')),
    );
    let log = lab.path("unused");
    let conf = lab.write("knockd.conf", &guide("ubuntu-guide", &log));
    let _daemon = Daemon::on_knockd_conf(&lab, &conf);
    opens_and_closes(&lab, &[], &["-d", "500"]);
}

/// The words that put a command where `/dev/log` leads to this socket.
fn with_dev_log(lab: &Lab, socket: &Path) -> Vec<String> {
    let devices = lab.path("devices");
    fs::create_dir_all(&devices).expect("a directory");
    let script = format!(
        "set -e; mount --rbind /dev {devices}; mount -t tmpfs none /dev; \
         for name in kmsg null urandom random zero; do touch /dev/$name; mount --bind {devices}/$name /dev/$name; done; \
         ln -s {socket} /dev/log; exec \"$@\"",
        devices = devices.display(),
        socket = socket.display(),
    );
    let words = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    words.map(str::to_owned).into()
}

/// What the guide shows of a knock in the syslog.
fn guided() -> [String; 5] {
    let of = |what: &str| format!("192.0.2.2: openSSH: {what}");
    [
        of("Stage 1"),
        of("Stage 2"),
        of("Stage 3"),
        of("OPEN SESAME"),
        "openSSH: running command: /sbin/iptables -I INPUT -s 192.0.2.2 -p tcp --dport 22 -j ACCEPT".to_owned(),
    ]
}

/// Whether they stand in these lines, in order, so many times each. The last knock of the close is the first of an
/// open, which knockd would not look at.
fn has_guided<'a>(lines: impl Iterator<Item = &'a str>, times: usize) -> bool {
    let lines: Vec<_> = lines.collect();
    let first = guided().map(|line| lines.iter().position(|found| *found == line));
    let often = guided().map(|line| lines.iter().filter(|found| **found == line).count());
    let [stage, rest @ ..] = often;
    first.iter().all(Option::is_some) && first.is_sorted() && stage >= times && rest == [times; 4]
}

#[test]
fn with_use_syslog_the_ubuntu_guides_lines_come_to_rsyslogd_as_knockds_own_do() {
    let tools = ["iptables", "ip6tables", "knock", "knockd", "rsyslogd"];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    firewall::iptables(&lab, ["iptables", "ip6tables"]);
    let syslog = Rsyslog::start(&lab, Module::Imkmsg);
    let words = with_dev_log(&lab, &syslog.socket());
    let conf = lab.write("knockd.conf", &guide("ubuntu-guide", &lab.path("unused")));
    let _knockd = Knockd::beside(&lab, &words, &conf);
    let _daemon = Daemon::on_knockd_conf_beside(&lab, &words, &conf);
    opens_and_closes(&lab, &[], &["-d", "500"]);
    eventually("both have written it all", PATIENCE, || {
        let text = fs::read_to_string(syslog.log_of_users()).unwrap_or_default();
        // Host and time in front, and the tag that both have.
        let tagged = text.lines().filter_map(|line| line.split_once(" knockd: "));
        has_guided(tagged.map(|(_, line)| line.trim_end()), 2)
    });
}

#[test]
fn with_use_syslog_the_ubuntu_guides_lines_come_to_journald() {
    let tools = [
        "iptables",
        "ip6tables",
        "knock",
        "systemd-journald",
        "journalctl",
        "nsenter",
    ];
    let Some(lab) = Lab::new(Ring::Shared, &tools) else {
        return;
    };
    firewall::iptables(&lab, ["iptables", "ip6tables"]);
    let journal = Journald::start(&lab);
    let words = with_dev_log(&lab, &journal.socket("dev-log"));
    let conf = lab.write("knockd.conf", &guide("ubuntu-guide", &lab.path("unused")));
    let _daemon = Daemon::on_knockd_conf_beside(&lab, &words, &conf);
    opens_and_closes(&lab, &[], &["-d", "500"]);
    eventually("journalctl -t knockd shows it", PATIENCE, || {
        has_guided(journal.of("knockd").lines(), 1)
    });
}

fn opens_and_closes(lab: &Lab, before: &[&str], behind: &[&str]) {
    let knock = |ports: [&str; 3]| {
        let mut knock = lab.near.command("knock");
        knock.args(before).arg("192.0.2.1").args(ports).args(behind);
        finish(&mut knock);
    };
    assert_eq!(ssh(&lab.near, Family::V4), Reach::Closed);
    knock(["7000", "8000", "9000"]);
    eventually("ssh opens", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Open
    });
    assert_eq!(ssh(&lab.far, Family::V4), Reach::Closed);
    let session = lab
        .near
        .inside(|| TcpStream::connect(Family::V4.server(22)))
        .expect("it is open");
    knock(["9000", "8000", "7000"]);
    eventually("ssh closes", PATIENCE, || {
        ssh(&lab.near, Family::V4) == Reach::Closed
    });
    assert!(!firewall::listed(lab, Family::V4).contains("192.0.2.2"));
    lives(session);
}

/// The session is still there: nothing has come, and nothing has ended it.
fn lives(mut session: TcpStream) {
    let pause = Some(Duration::from_millis(100));
    session.set_read_timeout(pause).expect("a timeout");
    let read = session.read(&mut [0; 1]);
    let kind = read.expect_err("nobody writes").kind();
    assert_eq!(kind, std::io::ErrorKind::WouldBlock);
}

/// The same door and the same packets: the same lines, a timeout and a failed command among them.
#[test]
fn the_log_file_has_the_lines_of_knockds_own() {
    let Some(lab) = Lab::new(Ring::Shared, &["knockd", "knock"]) else {
        return;
    };
    firewall::nft(&lab);
    let logs = ["theirs", "ours"].map(|name| lab.record(&format!("{name}.log")));
    let [theirs, ours] = [0, 1].map(|which| {
        let text = format!(
            "[options]\n logfile = {}\n[S]\n sequence = 7000,8000:udp\n tcpflags = syn\n seq_timeout = 2\n \
             start_command = exit 3\n[T]\n sequence = 7100,7200\n tcpflags = syn\n \
             start_command = echo open %IP% >/dev/null\n cmd_timeout = 1\n \
             stop_command = echo closed %IP% >/dev/null\n",
            logs[which].display()
        );
        lab.write(["theirs.conf", "ours.conf"][which], &text)
    });
    let _knockd = Knockd::on(&lab, &theirs);
    let _daemon = Daemon::on_knockd_conf(&lab, &ours);
    let read = |which: usize| fs::read_to_string(&logs[which]).unwrap_or_default();
    let both = |what: &str, line: &str| {
        eventually(what, PATIENCE, || {
            [0, 1].iter().all(|which| read(*which).contains(line))
        });
    };
    let knock = |line: &str| {
        finish(
            lab.near
                .command("knock")
                .args(["-d", "50", "192.0.2.1"])
                .args(line.split(' ')),
        );
    };
    knock("7000:tcp 8000:udp");
    both(
        "a command fails",
        "S: command returned non-zero status code (3)",
    );
    knock("7100 7200");
    both("a door closes", "T: running command: echo closed 192.0.2.2");
    knock("7000");
    // knockd notices at the next packet, logknock when it is time.
    std::thread::sleep(Duration::from_millis(3200));
    knock("7000");
    both(
        "a sequence times out",
        "192.0.2.2: S: sequence timeout (stage 1)",
    );
    let lines = |which: usize| {
        let mut lines = without_stamps(&read(which));
        lines.retain(|line| !line.starts_with("starting up"));
        lines.truncate(13);
        lines
    };
    eventually("the last line", PATIENCE, || {
        lines(0).len() == 13 && lines(1).len() == 13
    });
    assert_eq!(lines(0), lines(1));
}

/// The lines of a log behind `[YYYY-MM-DD HH:MM] `, which all have; knockd's blank ones are none.
fn without_stamps(log: &str) -> Vec<String> {
    let line = |line: &str| {
        let (stamp, text) = line.split_at(19);
        let shape: String = stamp
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(shape, "[9999-99-99 99:99] ", "{line}");
        text.to_owned()
    };
    log.lines()
        .filter(|line| !line.is_empty())
        .map(line)
        .collect()
}
