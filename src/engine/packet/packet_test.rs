//! Which parts of a packet line are read, and what is reported for a cut or wrong one.

use super::*;

fn parse(message: &str) -> Packet<'_> {
    read(message.as_bytes(), Printer::Kernel).unwrap().unwrap()
}

#[test]
fn the_text_form_shows_what_matters() {
    let packet = parse(
        "KNOCK: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=198.51.100.9 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=4660 DF PROTO=TCP SPT=40000 DPT=7000 WINDOW=64240 RES=0x00 ECE SYN URGP=0 ",
    );
    assert_eq!(
        packet.to_string(),
        r#"prefix="KNOCK: " in=eth0 out= 203.0.113.7:40000 -> 198.51.100.9:7000 tcp ece,syn"#
    );
    let packet = parse(
        "\"\u{e9} IN= OUT=eth0 SRC=2001:0db8:0000:0000:0000:0000:0000:0007 DST=2001:0db8:0000:0000:0000:0000:0000:0009 LEN=80 TC=0 HOPLIMIT=52 FLOWLBL=7 PROTO=59 ",
    );
    assert_eq!(
        packet.to_string(),
        r#"prefix="\"\xc3\xa9 " in= out=eth0 2001:db8::7 -> 2001:db8::9 59"#
    );
}

#[test]
fn the_fingerprint_has_the_first_length_and_id_and_the_udp_length() {
    let packet = parse(
        "IN=eth0 OUT= SRC=203.0.113.7 DST=198.51.100.9 LEN=70000 TOS=0x00 PREC=0x00 TTL=52 ID=4660 PROTO=UDP SPT=40000 DPT=7000 LEN=28 ",
    );
    let mark = Fingerprint {
        len: Some(70_000),
        ttl: Some(52),
        id: Some(4660),
        udp_len: Some(28),
        ..Fingerprint::default()
    };
    assert_eq!(packet.headers.mark, mark);
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    for fields in [
        "LEN=60 TC=0 HOPLIMIT=52 FLOWLBL=0",
        "LEN=60 TOS=00 PREC=0x00 TTL=52 ID=1",
    ] {
        let line = format!(
            "IN=eth0 OUT= MAC= SRC=::ffff:203.0.113.7 DST=::ffff:198.51.100.9 {fields} PROTO=UDP SPT=40000 DPT=7000 LEN=28"
        );
        let packet = parse(&line);
        assert_eq!(packet.headers.src, IpAddr::from([203, 0, 113, 7]));
        assert_eq!(packet.headers.mark.ttl, Some(52));
    }
}

#[test]
fn an_ipv6_address_may_begin_like_an_octet() {
    let packet = parse(
        "IN=eth0 OUT= SRC=20:db8::7 DST=2001:db8::9 LEN=80 TC=0 HOPLIMIT=52 FLOWLBL=0 PROTO=UDP SPT=1 DPT=2 LEN=8",
    );
    assert_eq!(packet.headers.src, "20:db8::7".parse::<IpAddr>().unwrap());
}

#[test]
fn a_line_that_is_no_packet_line_is_none() {
    for line in [
        "",
        "IN=",
        " OUT=",
        "docker0: port 6(veth) entered blocking state",
        "IN  OUT=x",
        "x=y OUT=z ",
    ] {
        assert_eq!(read(line.as_bytes(), Printer::Kernel), Ok(None), "{line}");
        assert_eq!(
            read_behind(line.as_bytes(), b"KNOCK: ", Printer::Kernel),
            Ok(None),
            "{line}"
        );
    }
}

#[test]
fn a_cut_line_is_distinguished_from_a_wrong_one() {
    for (line, reason) in [
        ("IN=eth0 OUT=", Reason::Truncated),
        ("IN=eth0 OUT= MAC=00:11", Reason::Truncated),
        ("IN=eth0 OUT= TRUNCATED", Reason::Truncated),
        ("IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.", Reason::Truncated),
        (
            "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.x.2 LEN=1 ",
            Reason::Grammar,
        ),
    ] {
        assert_eq!(
            read(line.as_bytes(), Printer::Kernel),
            Err(reason),
            "{line}"
        );
    }
}

#[test]
fn white_space_may_end_a_line_and_nothing_else() {
    let line = "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP SPT=1 DPT=2 LEN=8";
    for end in ["", " ", "   ", "\r", " \r", "\t", " \t \r"] {
        assert!(
            parse(&format!("{line}{end}")).headers.ports.is_some(),
            "{end:?}"
        );
    }
    for end in ["\n", "\0", " \0", ".", " x", "\u{a0}"] {
        assert_eq!(
            read(format!("{line}{end}").as_bytes(), Printer::Kernel),
            Err(Reason::Grammar),
            "{end:?}"
        );
    }
}
