//! What wakes, which directories are watched, and which new files are held open.

use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag, ModifyKind};

use super::*;

#[test]
fn opening_a_file_is_no_change_but_an_overflow_is() {
    let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    assert!(!is_change(&Ok(Event::new(opened))));
    assert!(is_change(&Ok(Event::new(written))));
    assert!(is_change(&Ok(Event::new(EventKind::Create(
        CreateKind::File
    )))));
    assert!(is_change(&Ok(
        Event::new(EventKind::Other).set_flag(Flag::Rescan)
    )));
    assert!(is_change(&Err(notify::Error::generic("lost"))));
}

#[test]
fn exhausted_instances_and_watches_have_different_messages() {
    let used_up = notify::Error::io(Errno::MFILE.into());
    assert_eq!(refused(&used_up), Trouble::Instances);
    let full = notify::Error::new(ErrorKind::MaxFilesWatch);
    assert_eq!(refused(&full), Trouble::Watches);
    let missing = notify::Error::io(Errno::NOSYS.into());
    assert_eq!(refused(&missing), Trouble::Unwatchable);
}

fn directories_of(path: &Path) -> usize {
    let target = fs::canonicalize(path).ok();
    directories(&[Some(path), target.as_deref()]).len()
}

#[test]
fn the_directory_of_a_link_and_of_its_target_are_both_watched_once() {
    let dir = tempfile::tempdir().unwrap();
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    fs::create_dir(&near).unwrap();
    fs::create_dir(&far).unwrap();
    let link = near.join("kern.log");
    std::os::unix::fs::symlink("../far/target", &link).unwrap();
    assert_eq!(directories_of(&link), 1, "the target is missing");
    std::os::unix::fs::symlink("far", far.join("target")).unwrap();
    std::os::unix::fs::symlink("target", near.join("plain")).unwrap();
    fs::create_dir(near.join("target")).unwrap();
    assert_eq!(
        directories_of(&near.join("plain")),
        1,
        "one directory for both"
    );
    fs::remove_file(far.join("target")).unwrap();
    fs::create_dir(far.join("target")).unwrap();
    assert_eq!(directories_of(&link), 2);
}

#[test]
fn a_file_system_of_other_hosts_is_known_by_its_number_of_either_sign() {
    assert_eq!(remote_kind(0x6969), Some("NFS"));
    assert_eq!(remote_kind(0xff53_4d42), Some("CIFS"));
    assert_eq!(remote_kind(0xff53_4d42 - (1 << 32)), Some("CIFS"));
    assert_eq!(remote_kind(0xef53), None);
}

#[test]
fn a_local_file_system_is_not_taken_for_a_remote_one() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(remote(&hold(dir.path()).unwrap().pin), None);
}

fn fill(path: &std::path::Path, text: &str) {
    let mut file = File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn created(path: &std::path::Path) -> Event {
    Event::new(EventKind::Create(CreateKind::File)).add_path(path.to_owned())
}

fn pending() -> (tempfile::TempDir, PathBuf, Pending) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kern.log");
    let pending = Pending::new(path.clone());
    pending.set_names(vec!["kern.log".into()]);
    (dir, path, pending)
}

#[test]
fn each_new_file_is_held_though_its_name_is_gone() {
    let (_dir, path, pending) = pending();
    for text in ["one", "two"] {
        fill(&path, text);
        pending.see(&created(&path));
        fs::remove_file(&path).unwrap();
    }
    for text in ["one", "two"] {
        let file = pending.next().unwrap();
        assert_eq!(std::io::read_to_string(file).unwrap(), text);
    }
    assert!(pending.next().is_none() && !pending.take_missed());
}

#[test]
fn two_events_that_lead_to_one_file_are_a_file_that_was_missed() {
    let (_dir, path, pending) = pending();
    fill(&path, "two");
    pending.see(&created(&path));
    assert!(!pending.take_missed());
    pending.see(&created(&path));
    assert!(pending.take_missed() && !pending.take_missed());
    let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    pending.see(&Event::new(moved).add_path(path));
    assert!(!pending.take_missed(), "renamed away and back");
}

#[test]
fn no_more_files_are_held_than_there_is_room_for() {
    let (_dir, path, pending) = pending();
    for number in 0..=MAX_PENDING {
        assert!(!pending.take_missed(), "{number}");
        fill(&path, "x");
        pending.see(&created(&path));
        fs::remove_file(&path).unwrap();
    }
    assert!(pending.take_missed());
    assert_eq!(std::iter::from_fn(|| pending.next()).count(), MAX_PENDING);
}

#[test]
fn other_files_and_directories_are_left_alone() {
    let (dir, path, pending) = pending();
    let other = dir.path().join("auth.log");
    fill(&other, "x");
    pending.see(&created(&other));
    fs::create_dir(&path).unwrap();
    pending.see(&created(&path));
    assert!(pending.next().is_none() && !pending.take_missed());
}

#[test]
fn an_overflow_is_counted() {
    let (_dir, _, pending) = pending();
    let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    pending.see(&overflow);
    assert_eq!((pending.take_overflows(), pending.take_overflows()), (1, 0));
}
