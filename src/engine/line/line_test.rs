//! Tags, stamps and priorities in front of a message, and where it begins.

use super::super::damage::damage;
use super::*;
use crate::engine::reading::Expected;
use crate::engine::reason::Reason;

fn message_of(line: &str) -> String {
    read(line.as_bytes()).message.escape_ascii().to_string()
}

#[test]
fn the_kernels_tag_counts_in_tag_position_only() {
    for (line, writer) in [
        ("Nov 20 21:00:00 fw kernel: x", Writer::Kernel),
        ("Nov 20 21:00:00 kernel: x", Writer::Kernel),
        ("Nov 20 21:00:00 kernel: kernel: x", Writer::Kernel),
        ("Nov 20 21:00:00 fw fw kernel: x", Writer::Kernel),
        ("Nov 20 21:00:00 fw kern.warn kernel: x", Writer::Kernel),
        ("Nov 20 21:00:00 <name> kernel: x", Writer::Kernel),
        ("kernel: x", Writer::Kernel),
        ("[ 12.5] kernel: x", Writer::Kernel),
        ("<4>1 - fw kernel - - - x", Writer::Kernel),
        ("4,1,2,-;x", Writer::Kernel),
        ("Nov 20 21:00:00 fw sshd[1]: kernel: x", Writer::Program),
        ("Nov 20 21:00:00 sshd: kernel: x", Writer::Program),
        ("Nov 20 21:00:00 fw kernel[1]: x", Writer::Program),
        ("sshd[1]: kernel: x", Writer::Program),
        ("<4>1 - fw kernel 1 - - x", Writer::Program),
        ("12,1,2,-;x", Writer::Facility),
        ("<12>[ 12.5] x", Writer::Facility),
        ("Nov 20 21:00:00 fw x kernel: y", Writer::Untagged),
        ("x kernel: y", Writer::Untagged),
        ("knock: x", Writer::Untagged),
        ("", Writer::Untagged),
    ] {
        assert_eq!(read(line.as_bytes()).writer, writer, "{line}");
    }
}

#[test]
fn exactly_one_blank_goes_with_the_tag_and_with_the_kernels_stamp() {
    for (line, message) in [
        (
            "Nov 20 21:00:00 fw kernel: [    1.5]  dropped IN=",
            " dropped IN=",
        ),
        ("Nov 20 21:00:00 fw kernel:  dropped IN=", " dropped IN="),
        ("Nov 20 21:00:00 fw kernel: [1.5][  C0] x", "x"),
        ("[1.5]  dropped", " dropped"),
        ("[1.5]x", "x"),
        (" dropped by firewall", " dropped by firewall"),
        ("4,1,2,-; dropped", " dropped"),
        ("4,1,2,-;[1.5] is text here", "[1.5] is text here"),
        ("kernel: [UFW BLOCK] x", "[UFW BLOCK] x"),
    ] {
        assert_eq!(message_of(line), message, "{line}");
    }
}

#[test]
fn a_prefix_that_looks_like_a_tag_is_kept_with_it() {
    let record = read(b"Nov 20 21:00:00 fw lk-4f9a1c7e: IN=eth0");
    assert_eq!(record.tagged, b"lk-4f9a1c7e: IN=eth0");
    assert_eq!((record.host, record.writer), (&b"fw"[..], Writer::Program));
    let record = read(b"lk-4f9a1c7e: IN=eth0");
    assert_eq!(record.message, b"lk-4f9a1c7e: IN=eth0");
}

#[test]
fn a_record_of_another_facility_is_not_the_kernels_whatever_it_begins_with() {
    for line in [
        "12,1,2,-;lk-4f9a1c7e: IN=eth0",
        "<12>[ 1.5] lk-4f9a1c7e: IN=eth0",
    ] {
        let record = read(line.as_bytes());
        assert_eq!(record.message, b"lk-4f9a1c7e: IN=eth0");
        assert_eq!(record.writer, Writer::Facility);
        let expected = Expected::Prefix((*b"lk-4f9a1c7e: ").into());
        let packet = "SRC=192.0.2.7 DST=192.0.2.1 PROTO=UDP SPT=1 DPT=2 LEN=8";
        let whole = format!("{line} OUT= {packet}");
        assert_eq!(
            expected.read(whole.as_bytes(), Origin::Claimed),
            Err(Reason::Facility)
        );
    }
}

#[test]
fn a_saved_record_has_its_facility_and_its_stamp() {
    let line = b"4,2451,1234000001,c,caller=T17,new=;x";
    assert_eq!(KmsgHead::of(line).map(|head| head.facility), Some(0));
    assert_eq!(read(line).uptime, Some(Time::from_nanos(1_234_000_001_000)));
    assert_eq!(
        KmsgHead::of(b"30,1,2,-;x").map(|head| head.facility),
        Some(3)
    );
    for no in [
        "4,1,2;x",
        "4,1,2,-",
        "4,1,2,;x",
        "-4,1,2,-;x",
        "4,1,2,a b;x",
    ] {
        assert_eq!(KmsgHead::of(no.as_bytes()), None, "{no}");
    }
}

#[test]
fn a_wrapped_repeat_is_unwrapped_and_counted() {
    let record = read(b"Nov 20 21:00:00 fw kernel: message repeated 2 times: [ [UFW BLOCK] IN=x ]");
    assert_eq!(
        (record.repeated, record.message),
        (Some(2), &b"[UFW BLOCK] IN=x "[..])
    );
    let cut = read(b"Nov 20 21:00:00 fw kernel: message repeated 2 times: [ KNOCK: IN=x");
    assert_eq!(cut.repeated, None);
    assert!(cut.message.starts_with(b"message repeated"));
}

#[test]
fn what_is_glued_on_goes() {
    for line in [
        "\u{feff}Nov 20 21:00:00 fw kernel: x",
        "\0\0Nov 20 21:00:00 fw kernel: x",
        "Nov 20 21:00:00 fw kernel: x\r",
        "kern.log:7:Nov 20 21:00:00 fw kernel: x",
        "a:b:c:<4>Nov 20 21:00:00 fw kernel: x",
        "192.0.2.1#Nov 20 21:00:00 fw kernel: x",
        "MESSAGE=x",
    ] {
        assert_eq!(message_of(line), "x", "{line:?}");
    }
}

#[test]
fn structured_data_cannot_pass_for_the_message() {
    let record = read(br#"<4>1 - fw kernel - - [a b="] \"x\" \\" c="d"][e] text"#);
    assert_eq!(
        (record.writer, record.message),
        (Writer::Kernel, &b"text"[..])
    );
    let unclosed = read(br#"<4>1 - fw kernel - - [a b="] text"#);
    assert_eq!(unclosed.writer, Writer::Untagged);
}

#[test]
fn the_kernels_stamp_is_read_beside_the_headers() {
    let record = read(b"1970-01-01T00:00:01.5Z fw kernel: [   12.345678] x");
    assert_eq!(
        record.stamp,
        Some(Stamp::Utc(Time::from_nanos(1_500_000_000)))
    );
    assert_eq!(record.uptime, Some(Time::from_nanos(12_345_678_000)));
    assert_eq!(record.host, b"fw");
}

#[test]
fn long_runs_are_read_in_linear_time() {
    for piece in [
        "a:",
        ":[",
        "[ ",
        "<4>",
        ":2026-01-01T00:00:00.9",
        "\0",
        " ",
        "IN= OUT=",
        "kernel: ",
        "[a b=\"\\",
    ] {
        let line = piece.repeat(20_000);
        let record = read(line.as_bytes());
        let _ = super::super::packet::read(record.message, record.printer());
        let _ = super::super::packet::read_behind(record.message, b"KNOCK: ", record.printer());
    }
}

/// The fast path gives what the other readers give, if it gives anything.
fn agrees(line: &[u8]) -> bool {
    let Some(record) = header::fast_path(line) else {
        return false;
    };
    assert_eq!(record, any(line), "{}", line.escape_ascii());
    true
}

#[test]
fn the_fast_path_takes_what_rsyslog_writes_and_agrees_whatever_is_changed_in_it() {
    let lines = [
        "2026-11-20T00:00:00.123456+00:00 gw kernel: [ 1000.000000] KNOCK: IN=eth0",
        "2026-11-20T00:00:00Z a-long-name.example.org kernel: [12345.678901] KNOCK: IN=eth0",
        "2026-11-20 23:59:60 192.0.2.1 kernel: [    0.5][   T17] KNOCK: IN=eth0",
        "Nov 20 21:00:00 fw kernel: [ 1234.000000] [UFW BLOCK] IN=eth0",
        "Mon Nov  2 21:00:00 2026 fw kernel: [ 1234.000000]  IN=eth0",
        "Nov 20 21:00:00 kern.warn kernel: [ 1234.000000] KNOCK: IN=eth0",
        "Nov 20 21:00:00 kernel: kernel: [ 1234.000000] KNOCK: IN=eth0",
        "Nov 20 21:00:00 <4> kernel: [ 1234.000000] KNOCK: IN=eth0",
        "Nov 20 21:00:00 fw kernel: [ 1234.000000] message repeated 2 times: [ KNOCK: IN=eth0]",
        "Nov 20 21:00:00 fw kernel: [ 1234.000000] KNOCK: IN=eth0\r",
    ];
    for line in &lines[..5] {
        assert!(agrees(line.as_bytes()), "{line}");
    }
    for line in lines {
        damage(line.as_bytes(), b" <>[]:.,-+0123456789TkK\t\r", |line| {
            agrees(line);
        });
    }
}
