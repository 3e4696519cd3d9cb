//! What has been used of sequences that open once, over restarts and on a disk that refuses.

use super::forgetful_disk::ForgetfulDisk;
use super::*;

fn boot() -> Boot {
    Boot {
        id: "this".into(),
        now: clock::boot_now(),
    }
}

fn recover(disk: &ForgetfulDisk) -> Opened {
    Ledger::recover(Box::new(disk.clone()), &boot()).unwrap()
}

fn used(disk: &ForgetfulDisk) -> Vec<(Arc<str>, i64)> {
    recover(disk).used
}

#[test]
fn what_is_used_stays_so_over_restarts_and_only_goes_up() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk).ledger;
    ledger.spend(&"web".into(), 60);
    ledger.spend(&"ssh".into(), 90);
    ledger.spend(&"ssh".into(), 30);
    ledger.commit().unwrap();
    drop(ledger);
    for _ in 0..3 {
        assert_eq!(used(&disk), [("ssh".into(), 90), ("web".into(), 60)]);
    }
}

#[test]
fn a_commit_returns_once_what_is_used_is_on_the_disk() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk).ledger;
    ledger.spend(&"ssh".into(), 30);
    ledger.commit().unwrap();
    disk.lose_power(|_| 0);
    assert_eq!(used(&disk), [("ssh".into(), 30)]);
}

#[test]
fn a_disk_that_refuses_is_said_and_what_is_used_is_written_when_it_can_be() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk).ledger;
    disk.schedule(&[14; 100]);
    ledger.spend(&"ssh".into(), 30);
    assert!(ledger.commit().is_err());
    // Each use is a reason to try again: what is opened with it waits for that.
    let failed = disk.failed();
    ledger.spend(&"ssh".into(), 60);
    assert!(ledger.commit().is_err() && disk.failed() > failed);
    disk.schedule(&[]);
    ledger.retry_now();
    ledger.commit().unwrap();
    assert_eq!(used(&disk), [("ssh".into(), 60)]);
}
