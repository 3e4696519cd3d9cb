//! Which knocks were answered, over kills, rewritings and reboots.

use std::net::IpAddr;
use std::sync::Arc;

use super::faulty_disk::FaultyDisk;
use super::tests::Book;
use super::*;
use crate::engine::answered::Last;
use crate::engine::command::Invocation;
use crate::engine::grant::Task;

const SRC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn recover(disk: &FaultyDisk, boot: &str) -> Opened {
    let boot = Boot {
        id: boot.into(),
        now: clock::boot_now(),
    };
    Ledger::recover(Box::new(disk.clone()), &boot).unwrap()
}

fn answers(disk: &FaultyDisk, boot: &str) -> Vec<(Arc<str>, IpAddr, Last)> {
    let grants = recover(disk, boot).grants;
    let all = grants
        .answers()
        .iter()
        .map(|(door, src, _, last)| (Arc::clone(door), src, last));
    all.collect()
}

fn last(seconds: i64) -> Last {
    Last {
        kernel: Some(Time::from_secs(seconds)),
        header: None,
        port: Some(40_000),
    }
}

#[test]
fn what_was_answered_is_known_after_a_kill_and_after_every_rewriting() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk, "this"));
    book.answered("wake", SRC, Some(last(1)));
    book.answered("wake", SRC, Some(last(2)));
    book.answered("ssh", SRC, None);
    book.commit().unwrap();
    drop(book);
    for _ in 0..3 {
        assert_eq!(answers(&disk, "this"), [("wake".into(), SRC, last(2))]);
    }
}

#[test]
fn a_grant_with_its_records_is_answered_for_its_door_and_address() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk, "this"));
    let close = Invocation {
        argv: vec!["close".to_owned()],
        env: Vec::new(),
        account: None,
    };
    let deadline = clock::boot_now();
    book.begin(1, SRC, deadline, close);
    for id in [1, 2] {
        let last = last(i64::try_from(id).unwrap());
        book.started(&Task::Open(GrantId(id)), SRC, Some(last));
    }
    book.commit().unwrap();
    assert_eq!(answers(&disk, "this"), [("ssh".into(), SRC, last(1))]);
}

#[test]
fn after_a_reboot_no_answer_is_left_for_no_line_is_read_again() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk, "this"));
    book.answered("wake", SRC, Some(last(1)));
    book.commit().unwrap();
    assert!(answers(&disk, "next").is_empty());
    assert!(answers(&disk, "this").is_empty(), "nor is it kept");
}

#[test]
fn an_answer_is_not_waited_for_and_a_disk_that_refuses_keeps_it_in_memory() {
    let disk = FaultyDisk::default();
    let mut book = Book::of(recover(&disk, "this"));
    disk.schedule(&[14; 100]);
    book.answered("wake", SRC, Some(last(1)));
    // The runner of the command does not ask whether it exists.
    let _ = book.commit();
    disk.schedule(&[]);
    book.ledger.retry_now();
    book.use_up("web", 60);
    book.commit().unwrap();
    assert_eq!(answers(&disk, "this"), [("wake".into(), SRC, last(1))]);
}
