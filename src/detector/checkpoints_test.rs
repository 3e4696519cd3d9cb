//! When it is put away how far a log was decided, and what of it the next daemon believes.
#![expect(clippy::disallowed_methods, reason = "a test damages what was written")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;

fn read_so_far(path: &str) -> Read {
    let checkpoint = r#"{"device":1,"inode":2,"offset":3,"known":0,"digest":4,"begun":0}"#;
    Read {
        path: path.into(),
        checkpoint: serde_json::from_str(checkpoint).unwrap(),
    }
}

/// The two files in `dir`, as the monitor hands them over.
fn files(dir: &Path) -> [OwnedFd; 2] {
    ["followed.0", "followed.1"].map(|name| {
        let mut options = std::fs::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        options.open(dir.join(name)).unwrap().into()
    })
}

/// Keeps, at this time in seconds, that the log `path` is read so far.
fn keep(dir: &Path, path: &str, boot: &str) {
    let mut keeper = Keeper::new(files(dir));
    let _ = keeper.read(boot);
    let mut checkpoints = Checkpoints::kept(keeper, boot.into()).unwrap();
    checkpoints.note(read_so_far(path), Time::from_secs(100));
    checkpoints.stop();
}

fn known(dir: &Path, boot: &str) -> Result<Vec<PathBuf>, Unusable> {
    let known = Keeper::new(files(dir)).read(boot);
    known.map(|known| known.into_keys().collect())
}

#[test]
fn they_are_put_away_once_a_second_and_at_the_end_and_only_when_there_is_news() {
    let put = Arc::new(Mutex::new(0));
    let count = Arc::clone(&put);
    let mut checkpoints = Checkpoints::new("boot".into(), move |_| {
        *count.lock().unwrap() += 1;
        true
    });
    let at = |millis| Time::from_secs(100).after(Duration::from_millis(millis));
    assert_eq!(checkpoints.poll_timeout(), None);
    checkpoints.note(read_so_far("/a"), at(0));
    assert_eq!(checkpoints.poll_timeout(), Some(at(0)));
    checkpoints.handle_timeout(at(0));
    assert_eq!(
        (*put.lock().unwrap(), checkpoints.poll_timeout()),
        (1, None)
    );
    checkpoints.note(read_so_far("/a"), at(10));
    checkpoints.note(read_so_far("/b"), at(20));
    checkpoints.handle_timeout(at(999));
    assert_eq!(*put.lock().unwrap(), 1);
    checkpoints.handle_timeout(at(1000));
    assert_eq!(
        (*put.lock().unwrap(), checkpoints.poll_timeout()),
        (2, None)
    );
    checkpoints.note(read_so_far("/b"), at(1010));
    checkpoints.stop();
    assert_eq!(*put.lock().unwrap(), 3);
}

#[test]
fn what_finds_no_room_is_put_away_a_second_later() {
    let mut room = false;
    let mut checkpoints =
        Checkpoints::new("boot".into(), move |_| std::mem::replace(&mut room, true));
    checkpoints.note(read_so_far("/a"), Time::from_secs(100));
    checkpoints.handle_timeout(Time::from_secs(100));
    assert_eq!(checkpoints.poll_timeout(), Some(Time::from_secs(101)));
    checkpoints.handle_timeout(Time::from_secs(101));
    assert_eq!(checkpoints.poll_timeout(), None);
}

#[test]
fn a_keeper_gives_back_what_it_was_given_last_to_the_same_boot_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert_eq!(known(dir, "boot"), Err(Unusable::Missing));
    for path in ["/a", "/a-much-longer-name-than-the-others", "/b", "/c"] {
        keep(dir, path, "boot");
        assert_eq!(known(dir, "boot"), Ok(vec![PathBuf::from(path)]));
        assert_eq!(known(dir, "next boot"), Err(Unusable::Rebooted));
    }
}

#[test]
fn a_file_that_was_not_written_to_its_end_leaves_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for path in ["/a", "/b"] {
        keep(dir, path, "boot");
    }
    for (cut, left) in [("followed.1", "/b"), ("followed.0", "/a")] {
        let path = dir.join(cut);
        let whole = std::fs::read(&path).unwrap();
        if !String::from_utf8_lossy(&whole).contains(left) {
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            assert_eq!(known(dir, "boot"), Ok(vec![PathBuf::from(left)]), "{cut}");
            std::fs::write(&path, whole).unwrap();
        }
    }
    for name in ["followed.0", "followed.1"] {
        std::fs::write(dir.join(name), "{").unwrap();
    }
    assert_eq!(known(dir, "boot"), Err(Unusable::Damaged));
}

#[test]
fn a_record_that_is_too_large_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    for file in files(dir.path()) {
        File::from(file).set_len(1 << 40).unwrap();
    }
    assert_eq!(known(dir.path(), "boot"), Err(Unusable::Damaged));
}
