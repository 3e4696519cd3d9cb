//! The real daemon where the machine fails it: its disk, its clock, its limits, its own configuration.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use logknock::protocol::PhaseWord;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Signal, getrlimit};

use super::daemon::{Daemon, KNOCKER, PORTS, eventually};
use super::logknock::Logknock;
use super::{namespace, need};

fn open(daemon: &Daemon) {
    daemon.knock(KNOCKER, &PORTS);
    daemon.await_command("open", KNOCKER);
}

#[test]
fn on_any_state_it_listens_and_keeps_three_damaged_ones_at_most() {
    let mut daemon = Daemon::start("");
    daemon.stop();
    let state = daemon.dir().join("state");
    let states = [
        Vec::new(),
        b"garbage\n\xff\0[[[[".to_vec(),
        b"{\"record\":\"header\",\"version\":1,".to_vec(),
        vec![0; 100 * 1024 * 1024],
        b"{\"version\":7,\"grants\":[]}\n".to_vec(),
    ];
    for (number, content) in states.iter().enumerate() {
        fs::write(state.join("grants.jsonl"), content).unwrap();
        daemon.restart();
        daemon.await_said("was damaged");
        let src = format!("198.51.100.{number}");
        daemon.knock(&src, &PORTS);
        daemon.await_command("open", &src);
        assert_eq!(daemon.stop().code(), Some(0));
        daemon.await_command("close", &src);
    }
    let names = fs::read_dir(state).unwrap();
    let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with("grants.corrupt-"));
    assert_eq!(aside.count(), 3);
}

#[test]
fn on_a_full_disk_nothing_opens_and_what_is_open_closes() {
    let name = "faults::on_a_full_disk_nothing_opens_and_what_is_open_closes";
    if !namespace::is_inside(name, "mount -t tmpfs none /mnt") {
        return;
    }
    let mut daemon = Daemon::start("");
    daemon.stop();
    let state = daemon.dir().join("state");
    mount(&[
        "-t",
        "tmpfs",
        "-o",
        "size=64k,mode=700",
        "none",
        state.to_str().unwrap(),
    ]);
    daemon.restart();
    open(&daemon);
    // All that there is, to the last byte.
    drop(fs::write(state.join("filler"), vec![b'x'; 1024 * 1024]));
    for number in 0..20 {
        let src = format!("198.51.100.{number}");
        daemon.knock(&src, &PORTS);
        daemon.wait_until("it is refused", |status| {
            status.events.get("open").copied().unwrap_or(0) == number + 2
        });
    }
    daemon.await_said("cannot put grants on disk");
    daemon.says(&["close", KNOCKER]);
    daemon.await_command("close", KNOCKER);
    fs::remove_file(state.join("filler")).unwrap();
    daemon.knock("192.0.2.99", &PORTS);
    daemon.await_command("open", "192.0.2.99");
    daemon.await_said("the state directory can be written again");
}

#[test]
fn on_a_disk_that_is_read_only_it_does_not_start() {
    let name = "faults::on_a_disk_that_is_read_only_it_does_not_start";
    if !namespace::is_inside(name, "mount -t tmpfs none /mnt") {
        return;
    }
    let mut daemon = Daemon::start("");
    daemon.stop();
    let state = daemon.dir().join("state");
    mount(&[
        "-t",
        "tmpfs",
        "-o",
        "ro,mode=700",
        "none",
        state.to_str().unwrap(),
    ]);
    daemon.spawn();
    assert_eq!(daemon.ended().code(), Some(70));
    daemon.await_said("cannot keep open grants in");
}

fn mount(words: &[&str]) {
    assert!(
        Command::new("mount")
            .args(words)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn after_a_reboot_what_was_open_is_closed_at_once() {
    let name = "faults::after_a_reboot_what_was_open_is_closed_at_once";
    if !namespace::is_inside(name, "mount -t tmpfs none /mnt") {
        return;
    }
    let mut daemon = Daemon::start("");
    open(&daemon);
    daemon.kill();
    let other = daemon.dir().join("boot_id");
    fs::write(&other, "00000000-0000-4000-8000-000000000000\n").unwrap();
    mount(&[
        "--bind",
        other.to_str().unwrap(),
        "/proc/sys/kernel/random/boot_id",
    ]);
    daemon.restart();
    daemon.await_command("close", KNOCKER);
    daemon.wait_until("it is closed", |status| status.grants.is_empty());
}

/// A time namespace, whose boot clock is as if the machine had slept, or has been turned back.
fn closes_at_once_when_the_boot_clock_is_set(by: &str) {
    let starter = [
        "/usr/bin/unshare",
        "--user",
        "--map-root-user",
        "--time",
        "--fork",
        "--kill-child",
        "--boottime",
        by,
    ];
    let mut probe = Command::new(starter[0]);
    let able = probe.args(&starter[1..]).arg("true").status();
    if !need::met(able.is_ok_and(|status| status.success()), "time namespaces") {
        return;
    }
    let mut daemon = Daemon::start("");
    open(&daemon);
    daemon.kill();
    daemon.start_by(&starter);
    daemon.restart();
    daemon.await_command("close", KNOCKER);
}

#[test]
fn what_became_due_while_the_machine_slept_is_closed_at_once() {
    closes_at_once_when_the_boot_clock_is_set("7200");
}

#[test]
fn what_was_opened_later_than_now_is_closed_at_once() {
    closes_at_once_when_the_boot_clock_is_set("-60");
}

#[test]
fn a_close_that_failed_is_tried_by_the_next_one_though_its_deadline_is_far() {
    let mut daemon = Daemon::start("");
    let config = daemon.config();
    let works = daemon.dir().join("works");
    let close = format!("[ -e {} ] || exit 1; echo close", works.display());
    daemon.set_config(&config.replace("echo close", &close));
    daemon.says(&["reload"]);
    open(&daemon);
    daemon.says(&["close", KNOCKER]);
    daemon.wait_until("it fails", |status| {
        status.grants[0].phase == PhaseWord::Failed
    });
    daemon.kill();
    fs::write(works, "").unwrap();
    daemon.restart();
    daemon.await_command("close", KNOCKER);
}

#[test]
fn with_on_exit_keep_doors_are_left_to_the_next_one() {
    let mut daemon = Daemon::start("on_exit = \"keep\"\n");
    open(&daemon);
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(daemon.commands(), format!("open {KNOCKER}\n"));
    daemon.restart();
    let status = daemon.status();
    assert_eq!((status.grants_open, status.grants_closing), (1, 0));
    daemon.says(&["close", "--all"]);
    daemon.await_command("close", KNOCKER);
    assert_eq!(
        daemon.commands(),
        format!("open {KNOCKER}\nclose {KNOCKER}\n")
    );
}

#[test]
fn a_sigterm_in_the_middle_of_a_reload_closes_and_ends_well() {
    let mut daemon = Daemon::start("");
    for number in 0..5 {
        let src = format!("198.51.100.{number}");
        daemon.knock(&src, &PORTS);
        daemon.await_command("open", &src);
        for _ in 0..number {
            daemon.signal(Signal::HUP);
        }
        assert_eq!(daemon.stop().code(), Some(0));
        daemon.await_command("close", &src);
        daemon.restart();
        assert_eq!(daemon.status().grants, []);
    }
}

#[test]
fn over_a_reload_an_attempt_goes_on_and_no_line_counts_twice() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &PORTS[..2]);
    daemon.wait_until("both are read", |status| status.hits == 2);
    daemon.says(&["reload"]);
    daemon.knock(KNOCKER, &PORTS[2..]);
    daemon.await_command("open", KNOCKER);
    let status = daemon.status();
    assert_eq!((status.hits, status.sources[0].lines), (3, 3));
    assert_eq!(daemon.commands(), format!("open {KNOCKER}\n"));
}

#[test]
fn a_second_one_names_the_first_and_does_not_disturb_it() {
    let daemon = Daemon::start("");
    let log = daemon.log();
    let second = daemon.asks(&["--follow", log.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(75));
    let said = String::from_utf8(second.stderr).unwrap();
    let pid = fs::read_to_string(daemon.dir().join("state/lock")).unwrap();
    assert!(said.contains(&format!("process {}", pid.trim())), "{said}");
    open(&daemon);
    assert_eq!(daemon.commands(), format!("open {KNOCKER}\n"));
}

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
    logknock.knock(KNOCKER);
    logknock.awaits_act(&format!("open {KNOCKER}"));
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
    // The one that is open, and one that cannot be opened.
    daemon.says("out of processes");
    logknock.knock("198.51.100.9");
    daemon.says("198.51.100.9");
    daemon.says("out of processes");
    let most = getrlimit(Resource::Nproc).maximum;
    let most = most.map_or("unlimited".to_owned(), |most| most.to_string());
    assert!(limit(&most));
    logknock.awaits_act(&format!("close {KNOCKER}"));
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
    open(&daemon);
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
            .all(|grant| grant.phase != PhaseWord::Open)
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
        "[defaults]\nshell = true\n[door.many]\nsequence = [7500]\ncmd_timeout = 3\n\
         start_command = \"true\"\nstop_command = \"echo close %IP% >>COMMANDS\"\n\
         [door.ssh]\nsequence = [7101, 8202, 9303]\ncmd_timeout = 3600\n\
         start_command = \"echo open %IP% >>COMMANDS\"\nstop_command = \"true\"\n",
        &[],
    );
    for number in 0..DOORS {
        let [high, low] = number.to_be_bytes();
        daemon.knock(&format!("10.0.{high}.{low}"), &[7500]);
    }
    eventually("one closes", || daemon.commands().contains("close"));
    daemon.knock(KNOCKER, &PORTS);
    daemon.await_command("open", KNOCKER);
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
fn without_its_state_nothing_is_guessed_and_nothing_run() {
    let mut daemon = Daemon::start("");
    open(&daemon);
    daemon.kill();
    fs::remove_dir_all(daemon.dir().join("state")).unwrap();
    daemon.restart();
    assert!(daemon.status().grants.is_empty());
    daemon.knock("198.51.100.1", &PORTS);
    daemon.await_command("open", "198.51.100.1");
    let commands = format!("open {KNOCKER}\nopen 198.51.100.1\n");
    assert_eq!(daemon.commands(), commands);
}
