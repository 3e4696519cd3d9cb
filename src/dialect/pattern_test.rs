//! Other firewalls' lines by a regex: what they are read as, and which regexes are none.

use super::*;
use crate::engine::time::Time;

/// RouterOS, as its remote syslog writes it.
const ROUTEROS: &str = r"^(?<time>\w{3} [ \d]\d [\d:]{8}) \S+ firewall,info (?<prefix>\S+ )input: in:(?<in>\S+) out:\(unknown 0\), (?:connection-state:\S+ )?(?:src-mac \S+, )?proto (?<proto>\w+)(?: \((?<flags>[\w,]+)\))?, (?<src>[\d.]+):(?<spt>\d+)->(?<dst>[\d.]+):(?<dpt>\d+), len \d+$";
const ROUTEROS_LINE: &str = "Nov 20 21:00:00 gw firewall,info lk-4f9a1c7e: input: in:ether1 out:(unknown 0), connection-state:new src-mac 52:54:00:12:34:56, proto TCP (SYN), 203.0.113.7:40000->192.0.2.1:7000, len 60";

fn format(text: &str) -> Pattern {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn anything() -> Expected {
    Expected::AnyPrefix
}

/// The packet of a line in `parse`'s form, or why there is none; "-" for a line of another kind.
fn read(regex: &str, line: &str, expected: &Expected) -> String {
    let Some(found) = format(regex).find(line.as_bytes()) else {
        return "-".to_owned();
    };
    match found.read(expected) {
        Ok(Some((_, packet))) => packet.to_string(),
        Ok(None) => "-".to_owned(),
        Err(reason) => reason.as_str().to_owned(),
    }
}

#[test]
fn a_line_of_routeros_is_read_behind_its_prefix() {
    let prefix = |text: &[u8]| Expected::Prefix(text.into());
    assert_eq!(
        read(ROUTEROS, ROUTEROS_LINE, &prefix(b"lk-4f9a1c7e: ")),
        "prefix=\"lk-4f9a1c7e: \" in=ether1 out= 203.0.113.7:40000 -> 192.0.2.1:7000 tcp syn"
    );
    assert_eq!(
        read(ROUTEROS, ROUTEROS_LINE, &prefix(b"lk-00000000: ")),
        "prefix"
    );
}

#[test]
fn a_format_that_has_no_group_for_the_prefix_does_not_check_it() {
    assert!(format(ROUTEROS).has_prefix());
    assert!(!format("^(?<src>.*) (?<dpt>.*) (?<proto>.*)$").has_prefix());
}

#[test]
fn the_stamp_is_read_in_any_form_that_a_header_has() {
    let regex = r"^(?<time>.+?) (?<proto>tcp) (?<src>\S+) (?<dpt>\d+)$";
    for stamp in [
        "2026-11-20T21:00:00Z",
        "Nov 20 21:00:00",
        "2026-11-20 21:00:00",
    ] {
        let line = format!("{stamp} tcp 203.0.113.7 7000");
        let format = format(regex);
        let found = format.find(line.as_bytes()).unwrap();
        let (record, _) = found.read(&anything()).unwrap().unwrap();
        assert!(record.stamp.is_some(), "{stamp}");
        assert_eq!(record.uptime, None::<Time>);
    }
    assert_eq!(
        read(regex, "yesterday tcp 203.0.113.7 7000", &anything()),
        "grammar"
    );
}

#[test]
fn what_is_not_the_whole_line_does_not_count() {
    let regex = r"^(?<proto>tcp) (?<src>[\d.]+) (?<dpt>\d+)$";
    let line = "tcp 203.0.113.7 7000";
    assert_ne!(read(regex, line, &anything()), "-");
    for around in [
        format!("x {line}"),
        format!("{line} x"),
        format!("{line}\nx"),
    ] {
        assert_eq!(read(regex, &around, &anything()), "-");
    }
    assert_ne!(read(regex, &format!("{line}\r"), &anything()), "-", "CRLF");
}

#[test]
fn each_branch_of_a_regex_is_anchored() {
    let regex = r"^(?<proto>tcp) (?<src>[\d.]+) (?<dpt>\d+)|end$";
    assert_eq!(
        read(regex, "tcp 203.0.113.7 7000 and more", &anything()),
        "-"
    );
    assert_eq!(read(regex, "end", &anything()), "grammar");
    let lines = r"^(?m)(?<proto>tcp) (?<src>[\d.]+) (?<dpt>\d+)$";
    assert_eq!(read(lines, "x\ntcp 203.0.113.7 7000\nx", &anything()), "-");
}

#[test]
fn a_value_that_is_none_is_no_packet() {
    let regex = r"^(?<proto>\S+) (?<src>\S+) (?<dst>\S+) (?<spt>\S+) (?<dpt>\S+) (?<flags>\S*)$";
    assert_eq!(
        read(regex, "6 ::ffff:203.0.113.7 192.0.2.1 1 2 S", &anything()),
        "prefix=\"\" in=- out= 203.0.113.7:1 -> 192.0.2.1:2 tcp syn"
    );
    for line in [
        "gre 203.0.113.7 192.0.2.1 1 2 S",
        "300 203.0.113.7 192.0.2.1 1 2 S",
        "tcp 203.0.113.07 192.0.2.1 1 2 S",
        "tcp host.example 192.0.2.1 1 2 S",
        "tcp fe80::1%em0 fe80::2 1 2 S",
        "tcp 203.0.113.7 2001:db8::1 1 2 S",
        "tcp 203.0.113.7 192.0.2.1 1 65536 S",
        "tcp 203.0.113.7 192.0.2.1 1 +2 S",
        "tcp 203.0.113.7 192.0.2.1 1 002 S",
        "tcp 203.0.113.7 192.0.2.1 -1 2 S",
        "tcp 203.0.113.7 192.0.2.1 1 2 X",
    ] {
        assert_eq!(read(regex, line, &anything()), "grammar", "{line}");
    }
}

#[test]
fn flags_are_names_or_letters() {
    for (text, expected) in [
        ("SYN", TcpFlags::SYN),
        ("syn,ack", TcpFlags::SYN.with(TcpFlags::ACK)),
        ("S", TcpFlags::SYN),
        ("S.", TcpFlags::SYN.with(TcpFlags::ACK)),
        ("SA", TcpFlags::SYN.with(TcpFlags::ACK)),
        ("FPU", TcpFlags::FIN.with(TcpFlags::PSH).with(TcpFlags::URG)),
        ("-", TcpFlags::NONE),
    ] {
        assert_eq!(flags(text.as_bytes()), Some(expected), "{text}");
    }
    assert_eq!(flags(b"none of these"), None);
}

#[test]
fn without_a_group_for_flags_a_tcp_line_is_a_syn() {
    let regex = r"^(?<proto>\S+) (?<src>\S+) (?<dpt>\S+)$";
    assert!(read(regex, "tcp 2001:db8::7 7000", &anything()).ends_with("tcp syn"));
    assert!(read(regex, "udp 2001:db8::7 7000", &anything()).ends_with("udp"));
}

#[test]
fn a_wrong_format_is_an_error_with_the_reason() {
    let error = |text: &str| text.parse::<Pattern>().unwrap_err();
    let fields = r"(?<src>\S+) (?<proto>\S+) (?<dpt>\d+)";
    for text in [
        fields.to_owned(),
        format!("^{fields}"),
        format!("{fields}$"),
        format!(r"^{fields}\$"),
        format!(r"^{fields}\\z"),
        format!("^{fields}z"),
    ] {
        assert_eq!(error(&text), PatternError::Anchors, "{text}");
    }
    assert!(format!(r"\A{fields}\z").parse::<Pattern>().is_ok());
    assert!(
        format!(r"^{fields}\\$").parse::<Pattern>().is_ok(),
        "a backslash, then the end"
    );
    assert_eq!(error("^(?<src>x)$"), PatternError::MissingGroup("dpt"));
    assert_eq!(
        error(&format!("^{fields} (?<port>x)$")),
        PatternError::UnknownGroup(Some("port".to_owned()))
    );
    assert_eq!(
        error(&format!("^{fields} (?<lk4f9a1c7e>x)$")),
        PatternError::UnknownGroup(None)
    );
    assert_eq!(error(&"x".repeat(5000)), PatternError::TooLarge);
    assert_eq!(
        error(&format!("^{fields}(?:x{{999}}){{999}}$")),
        PatternError::TooLarge
    );
}

#[test]
fn a_syntax_error_does_not_repeat_the_regex() {
    let PatternError::Syntax(why) = "^4f9a1c7e(?<src>".parse::<Pattern>().unwrap_err() else {
        panic!("it has another error")
    };
    assert_eq!(why, "unclosed group");
    assert_eq!(format!("{:?}", format(ROUTEROS)), "Pattern(*)");
}

#[test]
fn a_comment_cannot_hide_the_end() {
    let text = "^(?x)(?<src>.*)(?<proto>.*)(?<dpt>.*) # $";
    assert!(matches!(
        text.parse::<Pattern>(),
        Err(PatternError::Syntax(_))
    ));
}

#[test]
fn a_time_may_have_any_form_that_a_header_has() {
    let regex = r"^\[(?<time>[^\]]+)\] (?<proto>\S+) (?<src>\S+) (?<dpt>\S+)$";
    for time in [
        "29/Nov/2026:10:17:18 +0100",
        "2026-11-29T10:17:18+01:00",
        "1795943838.5",
        "2026 Nov 29 10:17:18",
        "Nov 29 10:17:18",
    ] {
        let line = format!("[{time}] udp 192.0.2.7 7000");
        assert!(read(regex, &line, &anything()).ends_with("udp"), "{time}");
    }
    let line = "[29/Nov/2026:25:17:18 +0100] udp 192.0.2.7 7000";
    assert_eq!(read(regex, line, &anything()), "grammar");
}
