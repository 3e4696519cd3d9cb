//! What has been used of sequences that open once, over restarts and on a disk that refuses.

use super::faulty_disk::FaultyDisk;
use super::tests::Book;
use super::*;

fn boot() -> Boot {
    Boot {
        id: "this".into(),
        now: clock::boot_now(),
    }
}

fn recover(disk: &FaultyDisk) -> Opened {
    Ledger::recover(Box::new(disk.clone()), &boot()).unwrap()
}

fn used(disk: &FaultyDisk) -> Vec<(String, i64)> {
    let grants = recover(disk).grants;
    let used = grants.used();
    used.map(|(door, until)| (door.to_string(), until))
        .collect()
}

#[test]
fn what_is_used_stays_so_over_restarts_and_only_goes_up() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk));
    book.use_up("web", 60);
    book.use_up("ssh", 90);
    book.use_up("ssh", 30);
    book.commit().unwrap();
    drop(book);
    for _ in 0..3 {
        assert_eq!(used(&disk), [("ssh".into(), 90), ("web".into(), 60)]);
    }
}

#[test]
fn a_commit_returns_once_what_is_used_is_on_the_disk() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk));
    book.use_up("ssh", 30);
    book.commit().unwrap();
    disk.lose_power(|_| 0);
    assert_eq!(used(&disk), [("ssh".into(), 30)]);
}

#[test]
fn a_disk_that_refuses_is_said_and_what_is_used_is_written_when_it_can_be() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk));
    disk.schedule(&[14; 100]);
    book.use_up("ssh", 30);
    assert!(book.commit().is_err());
    // Each use is a reason to try again: what is opened with it waits for that.
    let failed = disk.failed();
    book.use_up("ssh", 60);
    assert!(book.commit().is_err() && disk.failed() > failed);
    disk.schedule(&[]);
    book.ledger.retry_now();
    book.commit().unwrap();
    assert_eq!(used(&disk), [("ssh".into(), 60)]);
}
