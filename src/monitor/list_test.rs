//! A file of sequences: which lines are marked as used, and when none is.
#![expect(clippy::disallowed_methods, reason = "a test writes and reads a list")]

use std::path::PathBuf;

use super::*;

const LIST: &str = "# ours\n7,8,9\nnot a sequence\n\n 1,2:udp,3\r\n7,8,9\n4,5\n7,8,9";

fn list(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_line_is_marked_with_all_before_it_and_all_like_it() {
    let (_dir, path) = list(LIST);
    assert_eq!(mark(&path, 2, "7,8,9"), Ok(()));
    let first = "# ours\n#,8,9\nnot a sequence\n\n 1,2:udp,3\r\n#,8,9\n4,5\n#,8,9";
    assert_eq!(read(&path), first);
    assert_eq!(mark(&path, 5, " 1,2:udp,3\r"), Ok(()));
    let second = "# ours\n#,8,9\n#ot a sequence\n\n#1,2:udp,3\r\n#,8,9\n4,5\n#,8,9";
    assert_eq!(read(&path), second);
}

#[test]
fn a_line_is_used_once_and_only_if_it_is_still_there() {
    let (_dir, path) = list(LIST);
    assert_eq!(mark(&path, 7, "4,5"), Ok(()));
    let after = read(&path);
    for (number, text) in [
        (7, "4,5"),
        (7, "#,5"),
        (2, "7,8,9"),
        (1, "# ours"),
        (9, "x"),
        (0, "x"),
    ] {
        assert_eq!(
            mark(&path, number, text),
            Err(NotStarted::NotListed),
            "{number}"
        );
    }
    assert_eq!(read(&path), after);
}

#[test]
fn the_file_stays_the_same_file() {
    use std::os::unix::fs::MetadataExt as _;
    let (_dir, path) = list(LIST);
    let before = std::fs::metadata(&path).unwrap();
    mark(&path, 2, "7,8,9").unwrap();
    let after = std::fs::metadata(&path).unwrap();
    let same = |data: &std::fs::Metadata| (data.ino(), data.len(), data.mode(), data.uid());
    assert_eq!(same(&before), same(&after));
}

#[test]
fn what_cannot_be_marked_is_not_used() {
    let (dir, path) = list(LIST);
    let held = File::open(&path).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let busy = NotStarted::NotMarked(Errno::WOULDBLOCK.raw_os_error());
    assert_eq!(mark(&path, 2, "7,8,9"), Err(busy), "another one is at it");
    assert_eq!(read(&path), LIST);
    let missing = mark(&dir.path().join("none"), 2, "7,8,9");
    assert_eq!(
        missing,
        Err(NotStarted::NotMarked(Errno::NOENT.raw_os_error()))
    );
    assert!(mark(dir.path(), 2, "7,8,9").is_err(), "a directory");
}
