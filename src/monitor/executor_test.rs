//! The grants on disk and the commands that run for them, on a disk that a test can make fail.
#![expect(clippy::disallowed_methods, reason = "a test reads what was written")]

use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use super::super::ledger::faulty_disk::FaultyDisk;
use super::super::ledger::{Boot, Opened};
use super::*;
use crate::engine::command::Template;
use crate::engine::door::{Door, GrantRule, PerFamily};
use crate::engine::example;

/// A door for IPv4 alone, which stays open for a minute.
fn door(name: &str, open: &[&str], close: &[&str]) -> Arc<Door> {
    let command = |words: &[&str]| PerFamily {
        v4: Template::from_words(words).ok(),
        v6: None,
    };
    let plain = example::door(&[7000]);
    Arc::new(Door {
        name: name.into(),
        grant: GrantRule {
            open: command(open),
            close: command(close),
            ..plain.grant
        },
        ..plain
    })
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn recover(disk: &FaultyDisk) -> Opened {
    let boot = Boot {
        id: "b".into(),
        now: clock::boot_now(),
    };
    Ledger::recover(Box::new(disk.clone()), &boot).unwrap()
}

fn start(disk: &FaultyDisk) -> Executor {
    let Opened { ledger, grants, .. } = recover(disk);
    Executor::new(Options::default(), Some(ledger), grants, None).unwrap()
}

/// Waits for what is due or readable, as the loop of the monitor does, and takes it.
fn turn(executor: &mut Executor) -> Vec<Report> {
    let now = clock::boot_now();
    let most = now.after(Duration::from_secs(10));
    let left = executor.due().map_or(most, |due| due.min(most)).since(now);
    let mut fds: Vec<_> = executor
        .descriptors()
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    poll(&mut fds, Some(&left.try_into().unwrap())).unwrap();
    drop(fds);
    executor.turn(clock::boot_now())
}

/// What was reported until nothing waits and nothing runs.
fn settle(executor: &mut Executor) -> Vec<Report> {
    let mut reports = executor.turn(clock::boot_now());
    while !executor.is_idle() {
        reports.extend(turn(executor));
    }
    reports
}

fn open(executor: &mut Executor, door: &Arc<Door>, last: u8) {
    let now = clock::boot_now();
    executor
        .grants
        .handle_open(door, address(last), now)
        .unwrap();
}

/// How the command of `task` ended, of those reported.
fn how(reports: &[Report], wanted: &Task) -> Option<How> {
    reports.iter().find_map(|report| match report {
        Report::Ended { task, ended, .. } if task == wanted => Some(ended.how),
        _ => None,
    })
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).into_os_string().into_string().unwrap()
}

#[test]
fn a_grant_is_on_disk_before_its_open_runs_and_off_it_after_its_close() {
    let disk = FaultyDisk::default();
    let mut executor = start(&disk);
    let door = door("ssh", &["sleep", "0.05"], &["true"]);
    for number in 1..10 {
        open(&mut executor, &door, 7);
        executor.turn(clock::boot_now());
        assert!(!executor.running.is_empty());
        let saved = recover(&disk.clone_as_killed()).grants;
        assert!(saved.get(GrantId(number)).is_some());
        settle(&mut executor);
        let saved = recover(&disk.clone_as_killed()).grants;
        assert!(saved.get(GrantId(number)).unwrap().opened.is_some());
        executor.grants.close_all(None, clock::boot_now());
        settle(&mut executor);
        assert!(recover(&disk.clone_as_killed()).grants.is_empty());
    }
}

#[test]
fn on_a_disk_that_refuses_nothing_is_opened_and_what_is_open_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let opened = path(dir.path(), "opened");
    let disk = FaultyDisk::default();
    let mut executor = start(&disk);
    open(&mut executor, &door("ssh", &["true"], &["true"]), 7);
    let reports = settle(&mut executor);
    assert_eq!(how(&reports, &Task::Open(GrantId(1))), Some(How::Exited(0)));

    disk.schedule(&[12; 1000]); // no space left
    open(
        &mut executor,
        &door("ssh", &["touch", &opened], &["true"]),
        8,
    );
    let reports = settle(&mut executor);
    let refused = How::NotStarted(NotStarted::Ledger);
    assert_eq!(how(&reports, &Task::Open(GrantId(2))), Some(refused));
    assert!(matches!(reports[0], Report::Degraded(_)), "{reports:?}");
    assert!(!Path::new(&opened).exists());
    executor.grants.close_all(None, clock::boot_now());
    let reports = settle(&mut executor);
    assert_eq!(
        how(&reports, &Task::Close(GrantId(1))),
        Some(How::Exited(0))
    );
    assert!(executor.grants.is_empty() && executor.trouble.is_some());

    disk.schedule(&[]);
    open(&mut executor, &door("ssh", &["true"], &["true"]), 8);
    let reports = settle(&mut executor);
    assert_eq!(reports[0], Report::Recovered);
    assert_eq!(how(&reports, &Task::Open(GrantId(3))), Some(How::Exited(0)));
    assert_eq!(executor.finish(), 0);
    let grants = recover(&disk).grants;
    assert_eq!((grants.len(), grants.next_id()), (1, 4));
}

#[test]
fn commands_of_an_address_run_one_after_another_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = path(dir.path(), "log");
    let say = |word: &str, pause: &str| format!("sleep {pause}; echo {word} >> {log}");
    let (slow, quick) = (say("opened", "0.2"), say("closed", "0"));
    let door = door("ssh", &["/bin/sh", "-c", &slow], &["/bin/sh", "-c", &quick]);
    let mut executor = start(&FaultyDisk::default());
    open(&mut executor, &door, 7);
    executor.turn(clock::boot_now());
    executor.grants.close_all(None, clock::boot_now());
    executor.turn(clock::boot_now());
    assert_eq!(executor.running.len(), 1);
    settle(&mut executor);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "opened\nclosed\n");
}

#[test]
fn an_open_whose_time_ended_while_it_waited_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let opened = path(dir.path(), "opened");
    let mut executor = start(&FaultyDisk::default());
    open(
        &mut executor,
        &door("slow", &["sleep", "0.2"], &["true"]),
        7,
    );
    executor.turn(clock::boot_now());
    open(
        &mut executor,
        &door("ssh", &["touch", &opened], &["true"]),
        7,
    );
    executor.turn(clock::boot_now());
    executor.grants.close_all(None, clock::boot_now());
    let reports = settle(&mut executor);
    let expired = How::NotStarted(NotStarted::Expired);
    assert_eq!(how(&reports, &Task::Open(GrantId(2))), Some(expired));
    assert_eq!(how(&reports, &Task::Close(GrantId(2))), None);
    assert!(!Path::new(&opened).exists() && executor.grants.is_empty());
}

#[test]
fn a_slow_door_does_not_hold_up_another_door() {
    let mut executor = start(&FaultyDisk::default());
    let slow = door("slow", &["sleep", "600"], &["true"]);
    (0..20).for_each(|last| open(&mut executor, &slow, last));
    executor.turn(clock::boot_now());
    open(&mut executor, &door("ssh", &["true"], &["true"]), 200);
    let mut reports = executor.turn(clock::boot_now());
    while reports.is_empty() {
        reports = turn(&mut executor);
    }
    assert_eq!(
        how(&reports, &Task::Open(GrantId(21))),
        Some(How::Exited(0))
    );
    executor.cut_short();
    settle(&mut executor);
}

#[test]
fn what_is_cut_short_is_counted_and_stays_on_disk() {
    let disk = FaultyDisk::default();
    let mut executor = start(&disk);
    let slow = door("slow", &["sleep", "600"], &["true"]);
    (0..20).for_each(|last| open(&mut executor, &slow, last));
    executor.turn(clock::boot_now());
    executor.cut_short();
    settle(&mut executor);
    assert_eq!(executor.finish(), 20);
    assert_eq!(recover(&disk).grants.len(), 20);
}
