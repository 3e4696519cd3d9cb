//! The real journald and journalctl through everything that can happen to them: every line of the kernel
//! comes, once, in order, or its loss is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use logknock::source::journal::{self, Journalctl, Options};
use logknock::source::{Closed, Handle, Health, Report, Trouble};
use rustix::process::{Pid, Signal, kill_process};

use crate::firewall;
use crate::held;
use crate::journald::Journald;
use crate::lab::{Family, Lab, PATIENCE};
use crate::process::{self, eventually};
use crate::turn::Ring;

const TOOLS: [&str; 3] = ["systemd-journald", "journalctl", "nsenter"];
const FIRST: u16 = 10_000;

/// A lab whose kernel logs knocks, and its journald.
fn journal_lab(ring: Ring) -> Option<(Lab, Journald)> {
    let lab = Lab::new(ring, &TOOLS)?;
    firewall::nft(&lab);
    let journal = Journald::start(&lab);
    Some((lab, journal))
}

/// A source on the journal, and what has come of it.
struct Followed {
    _handle: Handle,
    reports: Receiver<Report>,
    /// How many packets the kernel was made to log.
    sent: usize,
    /// The ports that have come, in order.
    ports: Vec<u16>,
    lost: usize,
    health: Option<Health>,
}

impl Followed {
    /// Follows the journal; it is looked after when it is silent for so long.
    fn start(lab: &Lab, journal: &Journald, silence: Duration) -> Self {
        let [nsenter, namespace, end] = journal.beside();
        let pid = lab.path("journalctl.pid");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--follow*) echo $$ >{}; esac\n\
             exec {nsenter} {namespace} {end} journalctl \"$@\"\n",
            pid.display()
        );
        let journalctl = lab.write("journalctl", &script);
        fs::set_permissions(&journalctl, PermissionsExt::from_mode(0o700)).expect("it is ours");
        let journalctl = Journalctl::at(journalctl).expect("this boot has a number");
        let start = Box::new(move |wanted: &_| journalctl.start(wanted));
        let options = Options {
            silence,
            ..Options::new().expect("this boot has a number")
        };
        let (sender, reports) = channel();
        let sink = move |report| sender.send(report).map_err(|_| Closed);
        let handle = journal::spawn(0, start, options, sink).expect("the journal can be read");
        let mut followed = Self {
            _handle: handle,
            reports,
            sent: 0,
            ports: Vec::new(),
            lost: 0,
            health: None,
        };
        followed.until(lab, "it is followed", |followed| {
            followed.health == Some(Health::Following)
        });
        followed
    }

    /// Takes reports until `holds`.
    fn until(&mut self, lab: &Lab, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let report = self.reports.recv_timeout(3 * PATIENCE);
            match report.unwrap_or_else(|_| panic!("{what}: {} came", self.ports.len())) {
                Report::Lines(batch) => {
                    let text = String::from_utf8_lossy(&batch.bytes).into_owned();
                    let ours = text.lines().filter(|line| line.contains(&lab.prefix));
                    self.ports.extend(ours.filter_map(port));
                }
                Report::Lost { .. } => self.lost += 1,
                Report::Health(health) => self.health = Some(health),
                _ => {}
            }
        }
    }

    /// Has the kernel log so many packets more, each to the port behind the one before.
    fn send(&mut self, lab: &Lab, count: usize) {
        let from = FIRST + u16::try_from(self.sent).expect("few");
        let ports: Vec<u16> = (from..).take(count).collect();
        let server = Family::V4.server(0).ip();
        lab.near.scan(server, &ports, 20, || {
            std::thread::sleep(Duration::from_millis(5));
        });
        self.sent += count;
    }

    /// Everything that was sent has come, once and in order, and nothing was lost.
    fn has_all(&mut self, lab: &Lab) {
        self.until(lab, "all lines come", |followed| {
            followed.ports.len() >= followed.sent
        });
        let expected: Vec<u16> = (FIRST..).take(self.sent).collect();
        assert_eq!(self.ports, expected);
        assert_eq!(self.lost, 0);
    }
}

/// The destination port of a packet line.
fn port(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(" DPT=")?;
    rest.split(' ').next()?.parse().ok()
}

/// The journalctl that follows.
fn journalctl(lab: &Lab) -> Pid {
    let text = fs::read_to_string(lab.path("journalctl.pid")).expect("it has started");
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.expect("a process id")
}

#[test]
fn three_hundred_lines_across_rotations_vacuums_and_flushes_come_once_each() {
    let Some((lab, journal)) = journal_lab(Ring::Shared) else {
        return;
    };
    let mut followed = Followed::start(&lab, &journal, PATIENCE);
    for round in 0..10 {
        followed.send(&lab, 30);
        match round % 3 {
            0 => journal.control(&["--rotate"]),
            1 => journal.control(&["--rotate", "--vacuum-files=1"]),
            _ => journal.rotate(),
        }
    }
    followed.has_all(&lab);
}

#[test]
fn lines_written_while_journald_is_down_come_when_it_is_back() {
    let Some((lab, mut journal)) = journal_lab(Ring::Shared) else {
        return;
    };
    let mut followed = Followed::start(&lab, &journal, PATIENCE);
    for signal in [Signal::TERM, Signal::KILL] {
        followed.send(&lab, 50);
        journal.stop(signal);
        followed.send(&lab, 50);
        journal.start_again(&lab);
        followed.send(&lab, 50);
    }
    followed.has_all(&lab);
}

#[test]
fn a_journalctl_that_is_killed_behind_an_entry_of_a_user_skips_no_line() {
    let Some((lab, journal)) = journal_lab(Ring::Shared) else {
        return;
    };
    let mut followed = Followed::start(&lab, &journal, PATIENCE);
    let user = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    for _ in 0..3 {
        followed.send(&lab, 5);
        followed.has_all(&lab);
        let sent = followed.sent;
        let entry = format!("MESSAGE=after {sent}\n");
        user.send_to(entry.as_bytes(), journal.socket("socket"))
            .expect("journald listens");
        let words = format!("after {sent}");
        eventually("journald has it", PATIENCE, || {
            journal.everything().contains(&words)
        });
        kill_process(journalctl(&lab), Signal::KILL).expect("it runs");
        followed.send(&lab, 5);
        followed.has_all(&lab);
    }
}

#[test]
fn a_journalctl_that_hangs_while_the_kernel_logs_is_noticed_and_replaced() {
    let Some((lab, journal)) = journal_lab(Ring::Shared) else {
        return;
    };
    let mut followed = Followed::start(&lab, &journal, Duration::from_secs(1));
    held::hold(journalctl(&lab));
    followed.send(&lab, 3);
    followed.until(&lab, "it is noticed", |followed| {
        followed.health == Some(Health::Degraded(Trouble::Stuck))
    });
    assert_eq!(followed.lost, 1, "that lines may be missing is said");
    followed.ports.clear();
    followed.send(&lab, 3);
    followed.until(&lab, "the next lines come", |followed| {
        followed.health == Some(Health::Following) && followed.ports.ends_with(&[FIRST + 5])
    });
}

#[test]
fn ten_thousand_lines_wait_for_a_reader_that_is_stalled() {
    let Some((lab, journal)) = journal_lab(Ring::Alone) else {
        return;
    };
    let mut followed = Followed::start(&lab, &journal, PATIENCE);
    let child = journalctl(&lab);
    // What is full is a pipe: the source waits in its sink, journalctl in its write.
    held::hold(child);
    for _ in 0..50 {
        followed.send(&lab, 200);
        // journald must read the ring before the next lines push these out of it.
        let last = format!(" DPT={} ", usize::from(FIRST) + followed.sent - 1);
        let latest = || journal.latest(300).contains(&last);
        eventually("journald has them", PATIENCE, latest);
    }
    held::let_go(child);
    followed.has_all(&lab);
}

#[test]
fn a_journal_of_the_users_own_alone_is_refused() {
    let Some(lab) = Lab::new(Ring::Shared, &TOOLS) else {
        return;
    };
    let locked = "set -e; mount -t tmpfs none /run/log
        [ ! -d /var/log/journal ] || mount -t tmpfs none /var/log/journal
        dir=/run/log/journal/$(cat /etc/machine-id); mkdir -p \"$dir\"
        touch \"$dir/system.journal\"; chmod 0 \"$dir/system.journal\"
        touch \"$dir/user-65534.journal\"; chown 65534 \"$dir/user-65534.journal\"
        chmod 0755 \"$1\"; shift
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let dir = tempfile::tempdir().expect("a directory");
    let text = format!(
        "[log]\nprefix = \"{}\"\n[daemon]\nephemeral = true\n[door.ssh]\nsequence = [7000, 8000]\n\
         start_command = \"true\"\n",
        lab.prefix
    );
    let config = dir.path().join("logknock.toml");
    fs::write(&config, text).expect("a file");
    fs::set_permissions(&config, PermissionsExt::from_mode(0o644)).expect("it is ours");
    let done = process::command("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", locked])
        .arg("sh")
        .arg(dir.path())
        .arg(reachable(dir.path()))
        .arg("--config")
        .arg(&config)
        .args(["--follow", "journald"])
        .output()
        .expect("it runs");
    assert_eq!(done.status.code(), Some(77), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("group systemd-journal"), "{said}");
}

/// The program where any user can reach it.
fn reachable(dir: &Path) -> std::path::PathBuf {
    let copy = dir.join("logknock");
    fs::copy(env!("CARGO_BIN_EXE_logknock"), &copy).expect("a copy");
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("it is ours");
    copy
}
