//! Standard input to its end.

use std::sync::mpsc::channel;

use super::*;
use crate::engine::reason::Reason;
use crate::source::Report;

#[test]
fn whole_lines_come_at_once_and_a_half_one_at_the_end_is_dropped() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (sender, reports) = channel();
    let sink = move |report| sender.send(report).map_err(|_| Closed);
    let handle = spawn(3, Some(reader), sink).unwrap();
    let next = || reports.recv().unwrap();
    assert_eq!(next(), Report::Health(Health::Following));
    rustix::io::write(&writer, b"one\ntwo\nhalf").unwrap();
    assert!(matches!(next(), Report::Lines(batch) if batch.bytes == b"one\ntwo\n"));
    drop(writer);
    let partial = next();
    assert!(
        matches!(
            partial,
            Report::Rejected {
                reason: Reason::Partial,
                count: 1
            }
        ),
        "{partial:?}"
    );
    assert_eq!(next(), Report::Ended);
    handle.stop();
}

#[test]
fn a_stop_ends_the_wait_for_input() {
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let handle = spawn(0, Some(reader), |_| Ok(())).unwrap();
    handle.stop();
}
