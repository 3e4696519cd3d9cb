//! When it is put away how far a log was decided, and what of it the next daemon believes.

use std::sync::{Arc, Mutex};

use super::*;

fn read_so_far(path: &str) -> Read {
    let checkpoint = r#"{"device":1,"inode":2,"offset":3,"known":0,"digest":4,"begun":0}"#;
    Read {
        path: path.into(),
        checkpoint: serde_json::from_str(checkpoint).unwrap(),
    }
}

fn open(dir: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::empty()).unwrap()
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
fn a_keeper_gives_back_what_it_was_given_to_the_same_boot_only() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = || Keeper::new(open(dir.path()));
    assert_eq!(keeper().read("boot"), Err(Unusable::Missing));
    let keeping = keeper().start().unwrap();
    let mut checkpoints = Checkpoints::new("boot".into(), keeping.sink());
    checkpoints.keeping = Some(keeping);
    let read = read_so_far("/var/log/kern.log");
    checkpoints.note(read.clone(), Time::from_secs(100));
    checkpoints.stop();
    let known = keeper().read("boot").unwrap();
    assert_eq!(known, Files::from([(read.path, read.checkpoint)]));
    assert_eq!(keeper().read("next boot"), Err(Unusable::Rebooted));
    let names = std::fs::read_dir(dir.path()).unwrap();
    assert_eq!(names.count(), 1, "nothing is left beside it");
}

#[test]
fn a_record_that_is_no_file_or_too_large_is_damaged_and_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::new(open(dir.path()));
    let path = dir.path().join(NAME);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(keeper.read("boot"), Err(Unusable::Damaged));
    std::fs::remove_file(&path).unwrap();
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(keeper.read("boot"), Err(Unusable::Damaged));
}
