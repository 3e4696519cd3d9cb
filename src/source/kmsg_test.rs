//! Records of the kernel as lines, and those that were lost.

use std::sync::mpsc::channel;

use super::*;
use crate::source::{Closed, Health, Report};

/// What is reported of `records`, in short; `None` is an overrun.
fn told(records: &[Option<&str>]) -> Vec<String> {
    let (sender, told) = channel();
    let mut outbox = Outbox::new(move |report| {
        let told = match report {
            Report::Lines(batch) => String::from_utf8(batch.bytes).unwrap(),
            Report::Rejected { reason, count, .. } => format!("{} {count}", reason.as_str()),
            Report::Lost(count) => format!("lost {count:?}"),
            _ => return Ok(()),
        };
        sender.send(told).map_err(|_| Closed)
    });
    let mut next = None;
    for record in records {
        let record = record.map(str::as_bytes).ok_or(Errno::PIPE);
        take(record, &mut next, &mut outbox).unwrap();
    }
    outbox.send_all(Health::Following).unwrap();
    told.try_iter().collect()
}

#[test]
fn a_record_is_handed_over_without_the_pairs_that_follow_it() {
    let record =
        "4,7,5000001,-,caller=T17,more=1;lk: IN=eth0\\x0a OUT= \n SUBSYSTEM=net\n DEVICE=n1\n";
    assert_eq!(
        told(&[Some(record)]),
        ["4,7,5000001,-,caller=T17,more=1;lk: IN=eth0\\x0a OUT= \n"]
    );
}

#[test]
fn what_users_wrote_is_counted_and_not_handed_over() {
    let records = [
        "12,7,1,-;lk: IN=eth0\n",
        "30,8,1,-;kernel[0]: lk: IN=eth0\n",
        "4,9,1,-;x\n",
    ];
    assert_eq!(told(&records.map(Some)), ["4,9,1,-;x\n", "facility 2"]);
}

#[test]
fn the_numbers_of_the_records_tell_how_many_were_lost() {
    assert_eq!(
        told(&[
            Some("4,7,1,-;a\n"),
            Some("12,8,1,-;b\n"),
            None,
            Some("4,12,1,c;d\n"),
            Some("4,13,1,+;e\n"),
        ]),
        [
            "4,7,1,-;a\n",
            "lost Some(3)",
            "4,12,1,c;d\n4,13,1,+;e\n",
            "facility 1"
        ]
    );
}

#[test]
fn an_overrun_before_the_first_record_lost_an_unknown_number() {
    assert_eq!(
        told(&[None, Some("4,12,1,-;a\n")]),
        ["lost None", "4,12,1,-;a\n"]
    );
}

#[test]
fn a_malformed_record_is_no_line() {
    for broken in [
        "",
        "\n",
        "lk: IN=eth0 OUT= \n",
        "4,7,1,-;cut",
        "4,7,-;x\n",
        "-4,7,1,-;x\n",
    ] {
        assert_eq!(told(&[Some(broken)]), ["grammar 1"], "{broken:?}");
    }
}

#[test]
fn a_device_that_is_not_there_or_not_ours_is_told_apart() {
    assert_eq!(device(Path::new("/nonexistent")).err(), Some(Errno::NOENT));
}
