//! The daemon that ends and begins again on the same log: what was written meanwhile counts once while
//! it is fresh, and nothing of it when that is not certain.

use std::fs;

use logknock::calendar::rfc3339;
use logknock::clock;
use rustix::process::Signal;
use std::time::Duration;

use super::logknock::{Logknock, PREFIX, Running, eventually};

/// How far files are read; the one with the higher number counts.
const CHECKPOINTS: [&str; 2] = ["state/followed.0", "state/followed.1"];
const A: &str = "203.0.113.1";
const B: &str = "203.0.113.2";

fn end(running: Running) {
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0);
}

/// A daemon that has opened for `A`, closed again because it was stopped, and knows what it has read.
fn ended_after_a_knock() -> Logknock {
    let logknock = Logknock::new().door("");
    let running = logknock.follow("");
    logknock.knock(A);
    logknock.awaits_act(&format!("open {A}"));
    end(running);
    logknock
}

/// How often a door was opened for `src`.
fn opens(logknock: &Logknock, src: &str) -> usize {
    let line = format!("open {src}");
    logknock
        .read("acts")
        .lines()
        .filter(|act| *act == line)
        .count()
}

/// What both files say.
fn checkpoints(logknock: &Logknock) -> String {
    CHECKPOINTS.map(|file| logknock.read(file)).concat()
}

/// Waits until it is on disk that the whole log has been read.
fn awaits_checkpoint(logknock: &Logknock) {
    let size = fs::metadata(logknock.path("kern.log")).unwrap().len();
    let offset = format!("\"offset\":{size},");
    eventually(
        || checkpoints(logknock).contains(&offset),
        || checkpoints(logknock),
    );
}

/// A knock of `B`, behind which everything before it has been decided.
fn settle(logknock: &Logknock) {
    logknock.knock(B);
    logknock.awaits_act(&format!("open {B}"));
}

#[test]
fn what_was_read_before_a_stop_is_not_read_again() {
    let logknock = ended_after_a_knock();
    let _running = logknock.follow("");
    settle(&logknock);
    assert_eq!(opens(&logknock, A), 1);
}

#[test]
fn a_knock_while_it_was_down_opens_when_it_is_up_and_fresh() {
    let logknock = ended_after_a_knock();
    logknock.knock(B);
    let _running = logknock.follow("");
    eventually(|| opens(&logknock, B) == 1, || logknock.read("acts"));
}

#[test]
fn a_knock_half_before_and_half_while_it_was_down_is_read_whole_but_not_joined() {
    // An attempt in flight is not kept, and no line of it counts twice.
    let logknock = Logknock::new().door("");
    let running = logknock.follow("");
    logknock.append("kern.log", &logknock.packet(A, 7000));
    let last = logknock.packet(A, 8000);
    let (begun, rest) = last.split_at(90);
    logknock.append("kern.log", begun);
    awaits_checkpoint(&logknock);
    end(running);
    logknock.append("kern.log", rest);
    logknock.append("kern.log", &logknock.packet(A, 9000));
    let _running = logknock.follow("");
    settle(&logknock);
    assert_eq!(opens(&logknock, A), 0);
    logknock.knock(A);
    logknock.awaits_act(&format!("open {A}"));
    assert_eq!(opens(&logknock, A), 1);
}

#[test]
fn an_old_knock_that_was_written_while_it_was_down_does_not_open() {
    let logknock = ended_after_a_knock();
    let lines = [7000, 8000, 9000].map(|port| logknock.packet(A, port));
    let hour = Duration::from_secs(3600);
    let old = rfc3339(clock::wall_now().before(hour));
    for line in &lines {
        let (_, rest) = line.split_once(' ').unwrap();
        logknock.append("kern.log", &format!("{old} {rest}"));
    }
    let _running = logknock.follow("");
    settle(&logknock);
    assert_eq!(opens(&logknock, A), 1);
}

#[test]
fn a_knock_without_a_stamp_that_was_written_while_it_was_down_does_not_open() {
    let logknock = ended_after_a_knock();
    for port in [7000, 8000, 9000] {
        let line = logknock.packet(A, port);
        let (_, rest) = line.split_once(PREFIX).unwrap();
        logknock.append("kern.log", &format!("kernel: {PREFIX}{rest}"));
    }
    let _running = logknock.follow("");
    settle(&logknock);
    assert_eq!(opens(&logknock, A), 1);
}

#[test]
fn after_a_kill_it_goes_on_where_the_last_checkpoint_was() {
    let logknock = Logknock::new().door("");
    let running = logknock.follow("");
    logknock.knock(A);
    logknock.awaits_act(&format!("open {A}"));
    awaits_checkpoint(&logknock);
    assert!(!checkpoints(&logknock).contains(PREFIX.trim_end_matches(": ")));
    running.signal(Signal::KILL);
    assert_eq!(running.ends(), -9);
    let _running = logknock.follow("");
    settle(&logknock);
    assert_eq!(opens(&logknock, A), 1);
}

/// After something was done to the record and a knock was logged, it begins at the end and says `why`.
fn begins_at_the_end(spoil: impl FnOnce(&Logknock), why: &str) {
    let logknock = ended_after_a_knock();
    spoil(&logknock);
    logknock.knock(A);
    let running = logknock.follow("");
    settle(&logknock);
    assert_eq!(opens(&logknock, A), 1);
    running.signal(Signal::TERM);
    let said = running.says_to_its_end();
    let notices: Vec<_> = said.iter().filter(|line| line.contains(why)).collect();
    assert_eq!(notices.len(), 1, "{said:#?}");
}

#[test]
fn without_a_record_it_begins_at_the_end_and_says_so_once() {
    let remove = |logknock: &Logknock| {
        for file in CHECKPOINTS {
            fs::remove_file(logknock.path(file)).unwrap();
        }
    };
    begins_at_the_end(remove, "there is no record of how far files were read");
}

#[test]
fn with_a_damaged_record_it_begins_at_the_end_and_says_so_once() {
    for record in [
        "{",
        "[1, 2]",
        "{\"version\":3,\"number\":1,\"boot\":\"\",\"files\":{}}\n",
    ] {
        let damage = |logknock: &Logknock| {
            for file in CHECKPOINTS {
                logknock.write(file, record);
            }
        };
        begins_at_the_end(damage, "is damaged");
    }
}

#[test]
fn with_a_record_of_another_boot_it_begins_at_the_end_and_says_so_once() {
    let boot = clock::boot_id().unwrap();
    let reboot = |logknock: &Logknock| {
        for file in CHECKPOINTS {
            let record = logknock.read(file).replace(&*boot, "another");
            logknock.write(file, record);
        }
    };
    begins_at_the_end(reboot, "has booted since");
}

#[test]
fn with_another_file_in_place_it_begins_at_the_end_and_says_so_once() {
    let replace = |logknock: &Logknock| {
        let log = logknock.path("kern.log");
        fs::rename(&log, logknock.path("kern.log.1")).unwrap();
        logknock.append("kern.log", "a new file\n");
    };
    begins_at_the_end(replace, "not the file that was read before");
}

#[test]
fn a_disk_that_takes_no_record_holds_up_no_knock_and_is_told_once() {
    let logknock = Logknock::new().door("");
    fs::create_dir(logknock.path("state")).unwrap();
    // A directory in the place of a record: it cannot be written.
    fs::create_dir_all(logknock.path("state/followed.0/x")).unwrap();
    let running = logknock.follow("");
    for number in 1..=3 {
        let src = format!("203.0.113.{number}");
        logknock.knock(&src);
        logknock.awaits_act(&format!("open {src}"));
    }
    running.signal(Signal::TERM);
    let said = running.says_to_its_end();
    let told = said
        .iter()
        .filter(|line| line.contains("cannot be written"));
    assert_eq!(told.count(), 1, "{said:#?}");
}

#[test]
fn a_dry_run_leaves_no_record() {
    let logknock = Logknock::new().door("");
    let mut running = logknock.follow("--dry-run");
    logknock.knock(A);
    running.says("open");
    end(running);
    assert!(!logknock.path("state").exists());
}
