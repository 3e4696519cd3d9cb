//! Reports: their order and their numbers.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::engine::reason::Reason;

fn outbox() -> (Outbox, Receiver<Report>) {
    let (sender, sent) = channel();
    let sink = move |report| sender.send(report).map_err(|_| Closed);
    (Outbox::new(sink), sent)
}

fn lines(bytes: &[u8]) -> Yield<'_> {
    let count = bytes.split_inclusive(|&byte| byte == b'\n').count() as u64;
    Yield::Lines { bytes, count }
}

#[test]
fn a_dropped_line_has_a_number_and_ends_the_batch() {
    let (mut outbox, sent) = outbox();
    outbox.take(lines(b"one\n"));
    outbox.take(lines(b"two\nthree\n"));
    outbox.take(Yield::Dropped(Reason::TooLong));
    outbox.take(Yield::Dropped(Reason::TooLong));
    outbox.take(lines(b"six\n"));
    outbox.send_all(Health::Following).unwrap();
    outbox.send_all(Health::Following).unwrap();
    let batch = |bytes: &[u8], first_line| {
        Report::Lines(Batch {
            bytes: bytes.to_vec(),
            first_line,
            late: false,
            read: None,
        })
    };
    assert_eq!(
        sent.try_iter().collect::<Vec<_>>(),
        [
            batch(b"one\ntwo\nthree\n", 1),
            batch(b"six\n", 6),
            Report::Rejected {
                reason: Reason::TooLong,
                count: 2
            },
            Report::Health(Health::Following),
        ]
    );
}

#[test]
fn a_gap_stands_between_the_lines_before_and_behind_it() {
    let (mut outbox, sent) = outbox();
    outbox.take(lines(b"one\n"));
    outbox.lose(Some(3));
    outbox.take(lines(b"two\n"));
    outbox.send_all(Health::Following).unwrap();
    let sent: Vec<_> = sent.try_iter().collect();
    let kinds: Vec<_> = sent.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 4);
    assert_eq!(sent.get(1), Some(&Report::Lost(Some(3))));
    assert_eq!(kinds[0], kinds[2]);
}

#[test]
fn nothing_is_sent_after_the_sink_has_closed() {
    let (mut outbox, sent) = outbox();
    drop(sent);
    outbox.take(lines(b"one\n"));
    assert_eq!(outbox.send_all(Health::Following), Err(Closed));
    assert_eq!(outbox.send_all(Health::Following), Err(Closed));
}
