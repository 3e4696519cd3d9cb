//! The event log and the metrics file: rotated, full, linked elsewhere, or flooded by strangers.
#![expect(clippy::disallowed_methods, reason = "a test reads what was written")]

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn start(files: Files) -> Records {
    Records::start(files, Time::default()).unwrap().unwrap()
}

fn open(records: &mut Records, text: &str) {
    records.event(EventKind::Open, Time::default(), || Some(text.to_owned()));
}

#[test]
fn without_files_there_is_nothing_to_do() {
    assert!(
        Records::start(Files::default(), Time::default())
            .unwrap()
            .is_none()
    );
}

#[test]
fn events_are_appended_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    fs::write(&path, "old\n").unwrap();
    fs::remove_file(&path).unwrap();
    for word in ["one", "two"] {
        let mut records = start(Files {
            event_log: Some(path.clone()),
            metrics: None,
            knockd_log: None,
        });
        open(&mut records, word);
        records.stop(String::new);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn after_a_rotation_events_go_to_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let [path, rotated] = ["events.jsonl", "events.jsonl.1"].map(|name| dir.path().join(name));
    let mut records = start(Files {
        event_log: Some(path.clone()),
        metrics: None,
        knockd_log: None,
    });
    open(&mut records, "one");
    records.stop(String::new);
    let mut records = start(Files {
        event_log: Some(path.clone()),
        metrics: None,
        knockd_log: None,
    });
    fs::rename(&path, &rotated).unwrap();
    records.reopen();
    open(&mut records, "two");
    records.stop(String::new);
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn strangers_cannot_fill_the_disk_and_opens_are_written_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut records = start(Files {
        event_log: Some(path.clone()),
        metrics: None,
        knockd_log: None,
    });
    let stage = EventKind::Stage { stage: 1, of: 3 };
    for _ in 0..3 * MOST {
        records.event(stage, Time::default(), || Some("stage".to_owned()));
    }
    open(&mut records, "open");
    let later = Time::default().after(MINUTE);
    records.event(stage, later, || Some("later".to_owned()));
    records.stop(String::new);
    let text = fs::read_to_string(&path).unwrap();
    let count = |word| text.lines().filter(|line| *line == word).count() as u64;
    assert_eq!(
        [count("stage"), count("open"), count("later")],
        [MOST, 1, 1]
    );
}

#[test]
fn metrics_are_due_at_once_then_every_so_often_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lk.prom");
    let mut records = start(Files {
        event_log: None,
        metrics: Some(path.clone()),
        knockd_log: None,
    });
    let mut written = 0;
    for second in 0..60 {
        records.handle_timeout(Time::from_secs(second), || {
            written += 1;
            String::new()
        });
    }
    assert_eq!(written, 4);
    records.stop(|| "the end\n".to_owned());
    assert_eq!(fs::read_to_string(&path).unwrap(), "the end\n");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1, "no file is left");
}

#[test]
fn a_link_in_the_way_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let [path, victim, link] = ["a", "victim", "a.new"].map(|name| dir.path().join(name));
    fs::write(&victim, "as it was").unwrap();
    symlink(&victim, link).unwrap();
    replace(&path, "new").unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn a_disk_that_is_full_holds_up_nobody() {
    let mut records = start(Files {
        event_log: Some("/dev/full".into()),
        metrics: Some("/dev/full/x".into()),
        knockd_log: None,
    });
    for _ in 0..10 {
        open(&mut records, "x");
        records.handle_timeout(Time::default(), String::new);
    }
    records.stop(String::new);
}
