//! The event log: rotated, full, or flooded by strangers.
#![expect(clippy::disallowed_methods, reason = "a test reads what was written")]

use std::fs;
use std::path::Path;

use super::*;

fn file(path: &Path) -> OwnedFd {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true).open(path).unwrap().into()
}

fn start(path: &Path) -> Records {
    let files = vec![(Record::EventLog, Some(file(path)))];
    Records::start(files, None).unwrap().unwrap()
}

fn open(records: &mut Records, text: &str) {
    records.event(EventKind::Open, Time::default(), || Some(text.to_owned()));
}

#[test]
fn without_files_there_is_nothing_to_do() {
    assert!(Records::start(Vec::new(), None).unwrap().is_none());
}

#[test]
fn events_are_appended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    for word in ["one", "two"] {
        let mut records = start(&path);
        open(&mut records, word);
        records.stop();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
}

#[test]
fn what_has_no_file_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut records = start(&path);
    records.knockd_line("a line", Time::default());
    records.knockd(EventKind::Open, Time::default(), Time::default(), || {
        panic!("nobody reads them")
    });
    records.stop();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn after_a_rotation_events_go_to_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let [path, rotated] = ["events.jsonl", "events.jsonl.1"].map(|name| dir.path().join(name));
    let mut records = start(&path);
    open(&mut records, "one");
    fs::rename(&path, &rotated).unwrap();
    records.take(Record::EventLog, Some(file(&path)));
    open(&mut records, "two");
    records.stop();
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn strangers_cannot_fill_the_disk_and_opens_are_written_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut records = start(&path);
    let stage = EventKind::Stage { stage: 1, of: 3 };
    for _ in 0..3 * MAX_CHEAP {
        records.event(stage, Time::default(), || Some("stage".to_owned()));
    }
    open(&mut records, "open");
    let later = Time::default().after(MINUTE);
    records.event(stage, later, || Some("later".to_owned()));
    records.stop();
    let text = fs::read_to_string(&path).unwrap();
    let count = |word| text.lines().filter(|line| *line == word).count() as u64;
    assert_eq!(
        [count("stage"), count("open"), count("later")],
        [MAX_CHEAP, 1, 1]
    );
}

#[test]
fn a_disk_that_is_full_holds_up_nobody() {
    let mut records = start(Path::new("/dev/full"));
    for _ in 0..10 {
        open(&mut records, "x");
    }
    records.stop();
}

#[test]
fn a_line_that_a_full_disk_cut_does_not_become_one_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut log = Log {
        file: Some(file(Path::new("/dev/full")).into()),
        ..Log::default()
    };
    log.append(Record::EventLog, "cut");
    log.file = Some(file(&path).into());
    log.append(Record::EventLog, "next");
    log.append(Record::EventLog, "last");
    assert_eq!(fs::read_to_string(&path).unwrap(), "\nnext\nlast\n");
}
