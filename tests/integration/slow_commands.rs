//! The real daemon where a command holds it up: one that hangs, waits for a lock, or cannot be started, and
//! a crowd of them.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use logknock::protocol::Phase;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, getrlimit};

use super::daemon::{Daemon, KNOCKER, PORTS, eventually};
use super::logknock::Logknock;
use super::need;

#[test]
fn without_a_process_to_be_had_nothing_opens_and_closing_is_tried_again() {
    let logknock = Logknock::new().door("cmd_timeout = 1").run_by_nobody();
    logknock.append("kern.log", "");
    for name in ["", "logknock.toml", "kern.log"] {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(logknock.path(name), Some(65_534), None).unwrap();
        }
    }
    let mut daemon = logknock.follow("");
    let open = [KNOCKER, "198.51.100.8"];
    for src in open {
        logknock.knock(src);
        logknock.awaits_act(&format!("open {src}"));
    }
    let lock = logknock.read("state/lock");
    // Told by the daemon's own user, for root may lack the right to set the limits of another one.
    let limit = |most: &str| {
        let pid = lock.trim();
        let arguments = [format!("--pid={pid}"), format!("--nproc={most}:")];
        let told = logknock.as_its_user("prlimit").args(arguments).status();
        told.is_ok_and(|status| status.success())
    };
    if !need::met(limit("1"), "prlimit") {
        return;
    }
    // One of those that are open, for only one command's session waits; and one that cannot be opened.
    daemon.says("out of processes");
    logknock.knock("198.51.100.9");
    daemon.says("198.51.100.9");
    daemon.says("out of processes");
    let most = getrlimit(Resource::Nproc).maximum;
    let most = most.map_or("unlimited".to_owned(), |most| most.to_string());
    assert!(limit(&most));
    for src in open {
        logknock.awaits_act(&format!("close {src}"));
    }
    logknock.knock("198.51.100.10");
    logknock.awaits_act("open 198.51.100.10");
    let acts = logknock.read("acts");
    assert!(!acts.contains("open 198.51.100.9\n"), "{acts}");
}

#[test]
fn while_a_command_hangs_at_the_end_the_others_are_closed_and_it_ends_in_time() {
    let mut daemon = Daemon::start("stop_timeout = \"2s\"\n");
    let config = daemon.config();
    let close = format!("[ $LOGKNOCK_IP = {KNOCKER} ] && exec sleep 600; echo close");
    daemon.set_config(&config.replace("echo close", &close));
    daemon.says(&["reload"]);
    daemon.open();
    for number in 0..20 {
        let src = format!("198.51.100.{number}");
        daemon.knock(&src, &PORTS);
        daemon.await_command("open", &src);
    }
    assert_eq!(daemon.stop().code(), Some(75));
    let closed = daemon.commands().matches("close 198.51.100.").count();
    assert_eq!(closed, 20);
    daemon.set_config(&config);
    daemon.restart();
    eventually("what was left is tried again", || {
        daemon
            .status()
            .grants
            .iter()
            .all(|grant| grant.phase != Phase::Open)
    });
}

/// A daemon with these doors, started by `starter`.
fn with_doors(doors: &str, starter: &[&str]) -> Daemon {
    let mut daemon = Daemon::start("");
    daemon.stop();
    let commands = daemon.dir().join("commands").display().to_string();
    let doors = doors.replace("COMMANDS", &commands);
    daemon.set_config(&format!("[log]\nprefix = \"lk-4f9a1c7e: \"\n{doors}"));
    daemon.start_by(starter);
    daemon.restart();
    daemon
}

#[test]
fn while_another_holds_the_lock_of_xtables_a_door_opens_late_and_others_at_once() {
    let starter = ["unshare", "--user", "--map-root-user", "--net"];
    let mut probe = Command::new(starter[0]);
    let able = probe.args(&starter[1..]).args(["iptables-legacy", "-L"]);
    let able = able.output().is_ok_and(|output| output.status.success());
    if !need::met(able, "iptables-legacy in a user namespace") {
        return;
    }
    // A lock of its own: it is the machine's otherwise.
    let rule = "INPUT -s %IP% -j ACCEPT";
    let tool = "XTABLES_LOCKFILE=COMMANDS.lock iptables-legacy -w 5";
    let doors = format!(
        "[defaults]\nshell = true\n[door.ssh]\nsequence = [7101, 8202, 9303]\ncmd_timeout = 3600\n\
         start_command = \"echo begin %IP% >>COMMANDS; {tool} -I {rule} && echo open %IP% >>COMMANDS\"\n\
         stop_command = \"{tool} -D {rule} && echo close %IP% >>COMMANDS\"\n\
         [door.web]\nsequence = [7500]\nstart_command = \"echo web %IP% >>COMMANDS\"\n"
    );
    let mut daemon = with_doors(&doors, &starter);
    let lock = fs::File::create(daemon.dir().join("commands.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    daemon.knock(KNOCKER, &PORTS);
    daemon.await_command("begin", KNOCKER);
    daemon.knock("198.51.100.1", &[7500]);
    daemon.await_command("web", "198.51.100.1");
    let open = format!("open {KNOCKER}\n");
    assert!(!daemon.commands().contains(&open), "it has the lock");
    flock(&lock, FlockOperation::Unlock).unwrap();
    daemon.await_command("open", KNOCKER);
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.await_command("close", KNOCKER);
}

#[test]
fn a_thousand_doors_that_close_in_one_moment_hold_up_no_knock() {
    const DOORS: u16 = 1000;
    let daemon = with_doors(
        "[defaults]\nshell = true\n[door.many]\nsequence = [7500]\ncmd_timeout = 3600\n\
         start_command = \"echo %IP% >>COMMANDS.opened\"\nstop_command = \"echo close %IP% >>COMMANDS\"\n\
         [door.ssh]\nsequence = [7101, 8202, 9303]\ncmd_timeout = 3600\n\
         start_command = \"echo open %IP% >>COMMANDS\"\nstop_command = \"true\"\n",
        &[],
    );
    for number in 0..DOORS {
        let [high, low] = number.to_be_bytes();
        daemon.knock(&format!("10.0.{high}.{low}"), &[7500]);
    }
    let opened = daemon.dir().join("commands.opened");
    eventually("all are open", || {
        let opened = fs::read_to_string(&opened).unwrap_or_default();
        opened.lines().count() == usize::from(DOORS)
    });
    daemon.says(&["close", "--all"]);
    eventually("one closes", || daemon.commands().contains("close"));
    daemon.open();
    daemon.wait_until("all are closed", |status| status.grants.len() == 1);
    let commands = daemon.commands();
    let lines: Vec<_> = commands.lines().collect();
    let closed: HashSet<_> = lines
        .iter()
        .filter(|line| line.starts_with("close"))
        .collect();
    assert_eq!(
        (closed.len(), lines.len()),
        (DOORS.into(), usize::from(DOORS) + 1)
    );
    assert!(
        lines.last().unwrap().starts_with("close"),
        "it waited for all"
    );
}

#[test]
fn a_command_has_no_terminal_though_the_daemon_was_started_from_one() {
    let on_a_terminal = "import pty, sys; pty.spawn(sys.argv[1:])";
    let able = Command::new("python3").args(["-c", "import pty"]).status();
    if !need::met(able.is_ok_and(|status| status.success()), "python3") {
        return;
    }
    let mut daemon = Daemon::start("");
    let config = daemon.config();
    daemon.stop();
    let commands = daemon.dir().join("commands").display().to_string();
    let try_it = format!(
        "if (: </dev/tty) 2>/dev/null; then echo terminal $LOGKNOCK_IP; else echo none $LOGKNOCK_IP; fi >> {commands}"
    );
    let (head, rest) = config.split_once("start_command = ").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    daemon.set_config(&format!(
        "{head}start_command = [\"/bin/sh\", \"-c\", \"{try_it}\"]\n{rest}"
    ));
    daemon.start_by(&["/usr/bin/python3", "-c", on_a_terminal]);
    daemon.restart();
    daemon.knock(KNOCKER, &PORTS);
    daemon.await_command("none", KNOCKER);
}

/// How often the door has been opened, and how often its close was tried.
fn acts(logknock: &Logknock) -> [usize; 2] {
    let acts = logknock.read("acts");
    ["open", "close"].map(|word| acts.lines().filter(|act| act.starts_with(word)).count())
}

#[test]
fn a_close_command_that_fails_holds_up_no_open() {
    let logknock = Logknock::new();
    let file = logknock.path("acts").display().to_string();
    let logknock = logknock.config(&format!(
        "[log]\nprefix = \"lk-4f9a1c7e: \"\n[door.ssh]\nsequence = [7000, 8000, 9000]\ncmd_timeout = 1\n\
         start_command = [\"/bin/sh\", \"-c\", \"echo open >> $1\", \"sh\", \"{file}\"]\n\
         stop_command = [\"/bin/sh\", \"-c\", \"echo close >> $1; echo no such rule >&2; false\", \"sh\", \"{file}\"]\n"
    ));
    let _running = logknock.follow("");
    for times in 1..=3 {
        logknock.knock(KNOCKER);
        eventually("it opens again", || acts(&logknock)[0] == times);
        let before = acts(&logknock)[1];
        eventually("its close is tried", || acts(&logknock)[1] > before);
    }
    let status = logknock.run("status --control state/control.sock");
    assert!(status.stdout.contains("no such rule"), "{}", status.stdout);
}

#[test]
fn a_knockd_conf_is_judged_as_knockd_judges_it() {
    let logknock = Logknock::new();
    let file = logknock.path("acts").display().to_string();
    let logknock = logknock.file(
        "knockd.conf",
        format!(
            "[options]\n\tUseSyslog\n[opencloseSSH]\n\tsequence = 7000,8000,9000\n\tseq_timeout = 5\n\
             \ttcpflags = syn\n\tstart_command = echo open %IP% >> {file}; false\n\tcmd_timeout = 1\n\
             \tstop_command = echo close %IP% >> {file}; false\n"
        ),
    );
    let logknock = logknock.file("prefix", "lk-4f9a1c7e: ");
    let _running = logknock.follow("--config knockd.conf --prefix-file prefix");
    for times in 1..=2 {
        logknock.knock(KNOCKER);
        eventually("it opens", || acts(&logknock)[0] == times);
        // An open that failed is no reason to close; the close comes in its time, three times.
        eventually("it is closed", || acts(&logknock)[1] == 3 * times);
    }
}
