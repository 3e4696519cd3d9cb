//! One file, and a follower that ends and begins again: it goes on where it was when that is certain,
//! and at the end when it is not. The tail has no clock, so nothing here waits.

use std::fs;

use super::followed::{Followed, append, write};

/// A follower that has read one line.
fn begun() -> (Followed, fs::File) {
    let mut log = Followed::empty();
    let writer = log.create();
    write(&writer, "1\n");
    assert_eq!(log.read(), "1\n");
    (log, writer)
}

#[test]
fn nothing_written_while_down_is_nothing_read_again() {
    let (mut log, writer) = begun();
    log.restart();
    assert_eq!(log.read(), "");
    assert!(!log.tail.take_unproven());
    write(&writer, "2\n");
    assert_eq!(log.read(), "2\n");
}

#[test]
fn lines_written_while_down_are_read_once_and_are_called_late() {
    let (mut log, writer) = begun();
    log.restart();
    write(&writer, "2\n3\n4\n");
    assert!(log.tail.is_late());
    assert_eq!(log.read(), "2\n3\n4\n");
    assert!(!log.tail.is_late(), "what comes now is written now");
    log.restart();
    assert_eq!(log.read(), "");
}

#[test]
fn a_line_begun_before_and_ended_while_down_is_read_once_and_whole() {
    let (mut log, writer) = begun();
    write(&writer, "hal");
    assert_eq!(log.read(), "");
    log.restart();
    write(&writer, "f\nnext\nbegun");
    assert_eq!(log.read(), "half\nnext\n");
    log.restart();
    assert_eq!(log.read(), "");
    log.restart();
    write(&writer, " and ended\n");
    assert_eq!(log.read(), "begun and ended\n");
}

#[test]
fn the_rest_of_an_overlong_line_is_not_read_as_a_line_after_a_restart() {
    let (mut log, writer) = begun();
    write(&writer, "x".repeat(10_000));
    assert_eq!(log.read(), "<too_long>");
    log.restart();
    write(&writer, "the rest\nnext\n");
    assert_eq!(log.read(), "next\n");
}

#[test]
fn a_line_behind_a_hole_is_read_after_a_restart() {
    let (mut log, writer) = begun();
    writer.set_len(4096).unwrap();
    assert_eq!(log.read(), "");
    log.restart();
    write(&writer, "2\n");
    assert_eq!(log.read(), "2\n");
}

#[test]
fn a_file_truncated_while_down_is_followed_from_its_end() {
    for refill in [
        "",
        "new\n",
        "0\n",
        "a refill that goes beyond where the first one was\n",
    ] {
        let (mut log, writer) = begun();
        log.restart();
        writer.set_len(0).unwrap();
        write(&writer, refill);
        assert_eq!(log.read(), "");
        assert!(log.tail.take_unproven(), "{refill:?}");
        assert!(!log.tail.take_unproven(), "told once");
        write(&writer, "next\n");
        assert_eq!(log.read(), "next\n");
    }
}

#[test]
fn a_file_rotated_while_down_is_followed_from_its_end() {
    let (mut log, old) = begun();
    log.restart();
    write(&old, "2\n");
    log.rename_to("kern.log.1");
    let new = append(&log.path);
    write(&new, "3\n");
    assert_eq!(log.read(), "");
    assert!(log.tail.take_unproven());
    write(&new, "4\n");
    assert_eq!(log.read(), "4\n");
}

#[test]
fn a_file_deleted_and_made_again_with_its_number_is_not_taken_for_the_old_one() {
    // On ext4 the new file has the old one's number; elsewhere the number alone tells.
    let (mut log, writer) = begun();
    log.restart();
    drop(writer);
    fs::remove_file(&log.path).unwrap();
    let writer = log.create();
    write(&writer, "x\nold\n");
    assert_eq!(log.read(), "");
    assert!(log.tail.take_unproven());
    write(&writer, "new\n");
    assert_eq!(log.read(), "new\n");
}

#[test]
fn a_file_that_appears_after_a_restart_is_read_from_its_first_line() {
    let (mut log, _) = begun();
    log.restart();
    fs::remove_file(&log.path).unwrap();
    assert_eq!(log.read(), "");
    write(&log.create(), "new\n");
    assert_eq!(log.read(), "new\n");
    assert!(!log.tail.take_unproven());
}

#[test]
fn after_a_flood_while_down_the_newest_lines_are_read() {
    let (mut log, writer) = begun();
    log.restart();
    writer.set_len(1 << 30).unwrap(); // a hole, which costs no disk
    write(&writer, "\n2\n");
    // The newest 256 MiB begin within the line of the hole.
    assert_eq!(log.read(), "2\n");
}

#[test]
fn restarts_at_any_moment_lose_and_repeat_nothing() {
    let mut log = Followed::empty();
    let writer = log.create();
    let mut got = String::new();
    let mut expected = String::new();
    for number in 0..2_000_u32 {
        let text = format!(
            "{number}:{}\n",
            "x".repeat(usize::try_from(number % 700).unwrap())
        );
        let (first, second) = text.split_at(usize::try_from(number % 97).unwrap().min(text.len()));
        for part in [first, second] {
            write(&writer, part);
            if number % 3 != 0 {
                got += &log.read();
            }
            if number % 2 == 0 {
                log.restart();
            }
        }
        expected += &text;
    }
    got += &log.read();
    assert_eq!(got, expected);
}
