//! Which knocks were answered, over kills, rewritings and reboots.

use super::forgetful_disk::ForgetfulDisk;
use super::*;

const SRC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn recover(disk: &ForgetfulDisk, boot: &str) -> Opened {
    let boot = Boot {
        id: boot.into(),
        now: clock::boot_now(),
    };
    Ledger::recover(Box::new(disk.clone()), &boot).unwrap()
}

fn answers(disk: &ForgetfulDisk, boot: &str) -> Vec<(Arc<str>, IpAddr, Last)> {
    let answers = recover(disk, boot).answers;
    let all = answers
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
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, "this").ledger;
    ledger.answered(&"wake".into(), SRC, Some(last(1)));
    ledger.answered(&"wake".into(), SRC, Some(last(2)));
    ledger.answered(&"ssh".into(), SRC, None);
    ledger.commit().unwrap();
    drop(ledger);
    for _ in 0..3 {
        assert_eq!(answers(&disk, "this"), [("wake".into(), SRC, last(2))]);
    }
}

#[test]
fn what_goes_on_with_a_grant_is_answered_for_its_door_and_address() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, "this").ledger;
    let close = Invocation {
        argv: vec!["close".to_owned()],
        env: Vec::new(),
        account: None,
    };
    let deadline = clock::boot_now();
    ledger.begin(GrantId(1), &"ssh".into(), SRC, deadline, close);
    ledger.answered_by(GrantId(1), Some(last(1)));
    ledger.answered_by(GrantId(2), Some(last(2)));
    ledger.commit().unwrap();
    assert_eq!(answers(&disk, "this"), [("ssh".into(), SRC, last(1))]);
}

#[test]
fn after_a_reboot_no_answer_is_left_for_no_line_is_read_again() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, "this").ledger;
    ledger.answered(&"wake".into(), SRC, Some(last(1)));
    ledger.commit().unwrap();
    assert!(answers(&disk, "next").is_empty());
    assert!(answers(&disk, "this").is_empty(), "nor is it kept");
}

#[test]
fn an_answer_is_not_waited_for_and_a_disk_that_refuses_keeps_it_in_memory() {
    let disk = ForgetfulDisk::default();
    let mut ledger = recover(&disk, "this").ledger;
    disk.schedule(&[14; 100]);
    ledger.answered(&"wake".into(), SRC, Some(last(1)));
    // Whoever runs the command does not ask whether it is there.
    let _ = ledger.commit();
    disk.schedule(&[]);
    ledger.retry_now();
    ledger.spend(&"web".into(), 60);
    ledger.commit().unwrap();
    assert_eq!(answers(&disk, "this"), [("wake".into(), SRC, last(1))]);
}
