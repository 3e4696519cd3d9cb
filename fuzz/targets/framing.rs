//! Any bytes as one line of a log: what `engine::line` takes off it, and the calendar makes of it.

use logknock::calendar::{Calendar, Zone, rfc3339};
use logknock::engine::line::{self, Record, Stamp, Writer};
use logknock::engine::time::Time;

/// Some day in 2026, as the last moment of a log.
const WRITTEN: Time = Time::from_secs(1_795_000_000);

pub(crate) fn run(data: &[u8]) {
    let record = line::read(data);
    is_part_of(record.message, data);
    is_part_of(record.tagged, data);
    is_part_of(record.host, data);
    assert!(
        record.tagged.ends_with(record.message) || record.repeated.is_some(),
        "the message is the end of itself with its tag"
    );
    if matches!(record.writer, Writer::Kernel | Writer::Untagged) {
        assert_eq!(record.tagged, record.message, "there is no tag to keep");
    }
    stamps_are_in_range(&record);
    assert_eq!(line::read(data), record, "a line has one reading");
}

/// What was read is a piece of the line, not only equal to one.
fn is_part_of(piece: &[u8], whole: &[u8]) {
    let (piece, whole) = (piece.as_ptr_range(), whole.as_ptr_range());
    let is_empty = piece.start == piece.end;
    assert!(is_empty || (whole.start <= piece.start && piece.end <= whole.end));
}

fn stamps_are_in_range(record: &Record<'_>) {
    if let Some(Stamp::Local(civil)) = record.stamp {
        assert!((1..=12).contains(&civil.month) && (1..=31).contains(&civil.day));
        assert!(civil.hour < 24 && civil.minute < 60 && civil.second < 60);
        assert!(civil.nanos < 1_000_000_000);
    }
    assert!(record.uptime.is_none_or(|uptime| uptime >= Time::default()));
    let mut calendar = Calendar::new(Zone::Local, WRITTEN);
    if let Some(wall) = record.stamp.and_then(|stamp| calendar.resolve(stamp)) {
        let text = rfc3339(wall.time());
        assert!(text.is_empty() || text.ends_with('Z'), "{text}");
    }
}
