//! A follower that cannot look: its sink is full, its processes are stopped, or the kernel has no room for
//! events. What it could not see at once it finds later, or says that lines are missing.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal};

use super::follower::{Follower, append, log, write};
use super::held;
use super::logknock::{Logknock, eventually};
use super::processes;

/// Whether this process has the file at `path` open for itself, beside the writer's own descriptor.
fn is_held(path: &Path) -> bool {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let holders = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path));
    holders.count() > 1
}

/// Rotates so often while the follower waits in its sink; returns all that was written.
fn rotates_while_full(follower: &mut Follower, path: &Path, rotations: u32) -> String {
    let first = "x".repeat(99) + "\n";
    let mut writer = append(path);
    let mut written = String::new();
    // More than fits into the inbox and the follower's hands.
    for _ in 0..20 {
        write(&writer, &first.repeat(10_000));
        written += &first.repeat(10_000);
    }
    follower.wait_until_full();
    for rotation in 1..=rotations {
        let gone = path.with_extension(format!("log.{rotation}"));
        fs::rename(path, &gone).unwrap();
        writer = append(path);
        let line = format!("file {rotation}\n");
        write(&writer, &line);
        written += &line;
        // The watcher has 8 hands.
        if rotation <= 8 {
            eventually(|| is_held(path), || format!("file {rotation} is not held"));
        }
        fs::remove_file(gone).unwrap();
    }
    written
}

#[test]
fn files_that_are_rotated_away_while_the_sink_is_full_are_read_all_the_same() {
    let (_dir, path) = log();
    append(&path);
    let mut follower = Follower::with_inbox(&path, 1);
    let written = rotates_while_full(&mut follower, &path, 5);
    follower.expect(&written);
    assert_eq!(follower.lost, 0);
    follower.stop();
}

#[test]
fn too_many_files_while_the_sink_is_full_are_reported_as_lost() {
    let (_dir, path) = log();
    append(&path);
    let mut follower = Follower::with_inbox(&path, 1);
    let written = rotates_while_full(&mut follower, &path, 12);
    let last = "file 12\n";
    follower.wait("the last file", |it| it.text().ends_with(last));
    let got = follower.take_text();
    follower.wait("the gap", |it| it.lost > 0);
    let mut all = written.lines();
    assert!(
        got.lines().all(|line| all.any(|it| it == line)),
        "in order, once"
    );
    follower.stop();
}

/// A daemon whose processes are stopped while something is done to its log, and runs again.
fn while_stopped(logknock: &Logknock, done: impl FnOnce()) -> super::logknock::Running {
    let running = logknock.follow("");
    let both = processes::daemons(running.pid());
    let both = both.into_iter().filter_map(Pid::from_raw);
    both.clone().for_each(held::hold);
    done();
    both.for_each(held::let_go);
    running
}

fn rotate(logknock: &Logknock, number: u32) {
    let log = logknock.path("kern.log");
    fs::rename(log, logknock.path(&format!("kern.log.{number}"))).unwrap();
    logknock.append("kern.log", "");
}

#[test]
fn a_rotation_while_the_process_is_stopped_loses_nothing() {
    let logknock = Logknock::new().door("");
    let running = while_stopped(&logknock, || {
        logknock.knock("203.0.113.1");
        rotate(&logknock, 1);
        logknock.knock("203.0.113.2");
    });
    logknock.awaits_act("open 203.0.113.1");
    logknock.awaits_act("open 203.0.113.2");
    running.signal(Signal::TERM);
    let said = running.says_to_its_end();
    assert!(
        !said.iter().any(|line| line.contains("were lost")),
        "{said:#?}"
    );
}

#[test]
fn five_rotations_while_stopped_report_the_lost_files() {
    let logknock = Logknock::new().door("");
    let mut running = while_stopped(&logknock, || {
        logknock.knock("203.0.113.1");
        for number in 1..=5 {
            rotate(&logknock, number);
            logknock.knock(&format!("203.0.113.{}", number + 1));
        }
    });
    running.says("lines were lost before they were read");
    // What a path or a descriptor leads to was read: the first file and the last.
    logknock.awaits_act("open 203.0.113.1");
    logknock.awaits_act("open 203.0.113.6");
}

#[test]
fn an_overflow_of_inotifys_queue_is_counted_and_nothing_is_lost_by_it() {
    let logknock = Logknock::new().door("");
    let running = while_stopped(&logknock, || {
        // The kernel's queue holds 16384 events, unless it was told otherwise; each file makes four.
        let room = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let room: u32 = room.trim().parse().unwrap();
        for number in 0..room / 4 + 100 {
            let name = logknock.path(&format!("storm.{}", number % 2));
            fs::write(&name, "x").unwrap();
            fs::remove_file(name).unwrap();
        }
        logknock.knock("203.0.113.1");
        rotate(&logknock, 1);
        logknock.knock("203.0.113.2");
    });
    logknock.awaits_act("open 203.0.113.1");
    logknock.awaits_act("open 203.0.113.2");
    eventually(
        || {
            let state = logknock.path("state").display().to_string();
            let status = logknock.run(&format!("--state-dir {state} status --json"));
            status.stdout.contains("\"overflows\":1")
        },
        || "no overflow is counted".to_owned(),
    );
    drop(running);
}
