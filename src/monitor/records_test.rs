//! The records' files as they are opened, and the metrics file as it is replaced.
#![expect(clippy::disallowed_methods, reason = "a test reads what was written")]

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::Mode;

use super::*;

#[test]
fn records_are_appended_to_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let files = Files {
        event_log: Some(path.clone()),
        ..Files::default()
    };
    for word in ["one\n", "two\n"] {
        let opened = files.opened();
        let [(Record::EventLog, Some(file))] = &opened[..] else {
            panic!("{opened:?}");
        };
        let file = file.try_clone().unwrap();
        fs::File::from(file).write_all(word.as_bytes()).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_cannot_be_opened_is_named_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files {
        event_log: Some(dir.path().join("no/such/directory")),
        knockd_log: Some(dir.path().join("knockd.log")),
        ..Files::default()
    };
    let opened: Vec<_> = files
        .opened()
        .into_iter()
        .map(|(record, file)| (record, file.is_some()))
        .collect();
    let expected = [(Record::EventLog, false), (Record::KnockdLog, true)];
    assert_eq!(opened, expected);
}

#[test]
fn a_fifo_without_a_reader_is_not_waited_for_and_one_with_a_reader_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    let files = Files {
        event_log: Some(path.clone()),
        ..Files::default()
    };
    assert!(matches!(files.opened()[..], [(Record::EventLog, None)]));
    let mut reader = OpenOptions::new();
    let reader = reader
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let _reader = reader.open(&path).unwrap();
    let opened = files.opened();
    let [(Record::EventLog, Some(file))] = &opened[..] else {
        panic!("{opened:?}");
    };
    let flags = rustix::fs::fcntl_getfl(file).unwrap();
    assert!(!flags.contains(OFlags::NONBLOCK), "its writer may wait");
}

#[test]
fn a_link_where_others_can_write_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let [path, victim] = ["events", "victim"].map(|name| dir.path().join(name));
    fs::write(&victim, "as it was").unwrap();
    symlink(&victim, &path).unwrap();
    let files = Files {
        event_log: Some(path),
        ..Files::default()
    };
    let is_opened = |mode| {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        matches!(files.opened()[..], [(Record::EventLog, Some(_))])
    };
    assert!(is_opened(0o755), "it is of ours");
    assert!(!is_opened(0o775) && !is_opened(0o757));
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
    let others = dir.path().read_dir().unwrap().count();
    assert_eq!(others, 2, "no file is left");
}
