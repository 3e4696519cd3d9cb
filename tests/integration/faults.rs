//! The real daemon where the machine fails it: its disk, its clock, a signal, its own configuration.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ::logknock::clock;
use ::logknock::protocol::Phase;
use rustix::process::Signal;

use super::daemon::{Daemon, KNOCKER, PORTS};
use super::{logknock, namespace, need};

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

/// What shows that one may mount.
const MAY_MOUNT: &str = "mount -t tmpfs none /mnt";

/// A daemon that is stopped, whose state directory is a disk with these options; and that directory.
/// For the test called `name`, which runs once more where that can be.
fn on_a_disk_of_its_own(name: &str, options: &str) -> Option<(Daemon, PathBuf)> {
    if !namespace::is_inside(name, MAY_MOUNT) {
        return None;
    }
    let mut daemon = Daemon::start("");
    daemon.stop();
    let state = daemon.dir().join("state");
    let place = state.to_str().unwrap();
    mount(&["-t", "tmpfs", "-o", options, "none", place]);
    Some((daemon, state))
}

#[test]
fn on_a_full_disk_nothing_opens_and_what_is_open_closes() {
    let name = "faults::on_a_full_disk_nothing_opens_and_what_is_open_closes";
    let Some((mut daemon, state)) = on_a_disk_of_its_own(name, "size=64k,mode=700") else {
        return;
    };
    daemon.restart();
    daemon.open();
    // All that there is, to the last byte.
    drop(fs::write(state.join("filler"), vec![b'x'; 1024 * 1024]));
    for number in 0..20 {
        let src = format!("198.51.100.{number}");
        daemon.knock(&src, &PORTS);
        daemon.wait_until("it is refused", |status| {
            status.events.get("open").copied().unwrap_or(0) == number + 2
        });
    }
    daemon.await_said("cannot write grants to disk");
    daemon.says(&["close", KNOCKER]);
    daemon.await_command("close", KNOCKER);
    fs::remove_file(state.join("filler")).unwrap();
    daemon.knock("192.0.2.99", &PORTS);
    daemon.await_command("open", "192.0.2.99");
    daemon.await_said("the state directory can be written again");
}

#[test]
fn what_is_due_is_closed_by_a_start_on_a_disk_that_is_full_or_read_only() {
    let name = "faults::what_is_due_is_closed_by_a_start_on_a_disk_that_is_full_or_read_only";
    for read_only in [false, true] {
        let Some((mut daemon, state)) = on_a_disk_of_its_own(name, "size=64k,mode=700") else {
            return;
        };
        let config = daemon.config();
        daemon.set_config(&config.replace("cmd_timeout = 3600", "cmd_timeout = 1"));
        daemon.restart();
        daemon.open();
        daemon.kill();
        let due = clock::boot_now().after(Duration::from_secs(1));
        logknock::eventually(|| clock::boot_now() > due, || "it is due".to_owned());
        drop(fs::write(state.join("filler"), vec![b'x'; 1024 * 1024]));
        if read_only {
            mount(&["-o", "remount,ro", state.to_str().unwrap()]);
        }
        daemon.spawn();
        daemon.await_command("close", KNOCKER);
        daemon.await_said("cannot write grants to disk");
        assert_eq!(daemon.commands().lines().count(), 2);
        daemon.kill();
    }
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
    if !namespace::is_inside(name, MAY_MOUNT) {
        return;
    }
    let mut daemon = Daemon::start("");
    daemon.open();
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
    daemon.open();
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
    daemon.open();
    daemon.says(&["close", KNOCKER]);
    daemon.wait_until("it fails", |status| status.grants[0].phase == Phase::Owed);
    daemon.kill();
    fs::write(works, "").unwrap();
    daemon.restart();
    daemon.await_command("close", KNOCKER);
}

#[test]
fn with_on_exit_keep_doors_are_left_to_the_next_one() {
    let mut daemon = Daemon::start("on_exit = \"keep\"\n");
    daemon.open();
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
fn over_a_reload_an_attempt_continues_and_no_line_counts_twice() {
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
    daemon.open();
    assert_eq!(daemon.commands(), format!("open {KNOCKER}\n"));
}

#[test]
fn without_its_state_nothing_is_guessed_and_nothing_run() {
    let mut daemon = Daemon::start("");
    daemon.open();
    daemon.kill();
    fs::remove_dir_all(daemon.dir().join("state")).unwrap();
    daemon.restart();
    assert!(daemon.status().grants.is_empty());
    daemon.knock("198.51.100.1", &PORTS);
    daemon.await_command("open", "198.51.100.1");
    let commands = format!("open {KNOCKER}\nopen 198.51.100.1\n");
    assert_eq!(daemon.commands(), commands);
}
