//! Forgeries against the packet reader, each reproduced on a real kernel or by a real daemon.

use super::super::line::{self, Writer};
use super::*;

const PREFIX: &str = "LKNOCK: ";
const FIELDS: &str = "IN=eth0 OUT= MAC= SRC=198.51.100.66 DST=203.0.113.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=4444 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0";

/// What a daemon with `prefix` makes of `message`.
fn believed<'a>(message: &'a str, prefix: &str) -> Result<Option<Packet<'a>>, Reason> {
    read_behind(message.as_bytes(), prefix.as_bytes(), Printer::Kernel)
}

/// What a daemon that follows a log makes of `line`.
fn believed_line<'a>(line: &'a str, prefix: &str) -> Option<Packet<'a>> {
    let record = line::read(line.as_bytes());
    let text = match record.writer {
        Writer::Kernel | Writer::Untagged => record.message,
        Writer::Program => record.tagged,
        Writer::Facility => return None,
    };
    read_behind(text, prefix.as_bytes(), Printer::Kernel)
        .ok()
        .flatten()
}

fn hit(read: Result<Option<Packet<'_>>, Reason>) -> Option<(IpAddr, u16)> {
    let packet = read.ok().flatten()?;
    Some((packet.headers.src, packet.headers.ports?.dst))
}

#[test]
fn the_true_line_that_is_forged_below_is_believed() {
    let line = format!("{PREFIX}{FIELDS} ");
    let source = "198.51.100.66".parse().unwrap();
    assert_eq!(hit(believed(&line, PREFIX)), Some((source, 7000)));
}

#[test]
fn a_segfault_whose_file_name_is_a_whole_log_line() {
    for (comm, prefix) in [
        ("LKNOCK: IN=eth0", PREFIX),
        ("LKNOCK: ", PREFIX),
        ("IN=eth0 OUT= MA", ""),
        ("LKNOCK: LKNOCK:", "LKNOCK: LKNOCK:"),
    ] {
        for name in [
            format!("{PREFIX}{FIELDS}"),
            format!("{PREFIX}{FIELDS} "),
            FIELDS.to_owned(),
        ] {
            for end in [
                "[1132,55d0a0000000+1000]",
                " likely on CPU 0 (core 0, socket 0)",
                "",
            ] {
                let line = format!(
                    "{comm}[24582]: segfault at 0 ip 0000000000401136 sp 00007ffd error 4 in {name}{end}"
                );
                assert_eq!(hit(believed(&line, prefix)), None, "{line}");
                if !end.is_empty() {
                    assert_eq!(hit(read(line.as_bytes(), Printer::Kernel)), None, "{line}");
                }
            }
        }
    }
}

#[test]
fn an_icmp_error_that_quotes_a_knock() {
    let quoted =
        "SRC=198.51.100.66 DST=10.77.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF PROTO=TCP";
    let ports = "SPT=4444 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0";
    let head = format!(
        "{PREFIX}IN=eth0 OUT= MAC= SRC=203.0.113.2 DST=203.0.113.1 LEN=88 TOS=0x00 PREC=0xC0 TTL=64 ID=2 PROTO=ICMP TYPE=3 CODE=3"
    );
    for quote in [
        format!("[{quoted} {ports} ] "),
        format!("[{quoted} {ports} ] MTU=1400 "),
        format!("[{quoted} INCOMPLETE [8 bytes] ] "),
        format!("[[{quoted}] {ports} ]"),
        "[TRUNCATED] ".to_owned(),
    ] {
        let line = format!("{head} {quote}");
        let packet = believed(&line, PREFIX).unwrap().unwrap();
        assert_eq!(packet.headers.src, IpAddr::from([203, 0, 113, 2]));
        assert_eq!(
            (packet.headers.proto, packet.headers.ports),
            (Proto::Icmp, None)
        );
    }
    for (quote, reason) in [
        (format!("[{quoted} {ports} "), Reason::Truncated),
        (
            format!("[{quoted} INCOMPLETE [8 bytes] "),
            Reason::Truncated,
        ),
        (format!("[{quoted}] {ports} ] "), Reason::Grammar),
        (format!("[{quoted}]{ports} "), Reason::Grammar),
        (format!("{quoted} {ports} "), Reason::Grammar),
    ] {
        let line = format!("{head} {quote}");
        assert_eq!(believed(&line, PREFIX), Err(reason), "{quote}");
    }
}

#[test]
fn a_program_that_echoes_a_strangers_text() {
    for line in [
        format!("Nov 20 21:00:00 fw sshd[1]: Invalid user kernel: {PREFIX}{FIELDS} "),
        format!("Nov 20 21:00:00 fw sshd[1]: {PREFIX}{FIELDS} "),
        format!("Nov 20 21:00:00 fw su: kernel: {PREFIX}{FIELDS} "),
        format!("Nov 20 21:00:00 evil: kernel: {PREFIX}{FIELDS} "),
        format!("Nov 20 21:00:00 fw kernel[99]: {PREFIX}{FIELDS} "),
        format!("Nov 20 21:00:00 fw Xkernel: {PREFIX}{FIELDS} "),
        format!("<30>1 2026-11-20T21:00:00Z fw httpd 7 - - {PREFIX}{FIELDS} "),
        format!("<30>1 2026-11-20T21:00:00Z fw kernel 7 - - {PREFIX}{FIELDS} "),
        format!("<30>1 2026-11-20T21:00:00Z fw httpd - - [x y=\"] {PREFIX}{FIELDS} \"] z"),
        format!("12,2932,1272667294,-;{PREFIX}{FIELDS} "),
        format!("12,2932,1272667294,-;kernel[31]: {PREFIX}{FIELDS} "),
        format!("<12>[ 1272.667294] {PREFIX}{FIELDS} "),
        format!("sshd[1]: {PREFIX}{FIELDS} "),
    ] {
        assert_eq!(believed_line(&line, PREFIX), None, "{line}");
    }
    assert!(
        believed_line(
            &format!("Nov 20 21:00:00 fw kernel: {PREFIX}{FIELDS} "),
            PREFIX
        )
        .is_some()
    );
    assert!(believed_line(&format!("Nov 20 21:00:00 fw {PREFIX}{FIELDS} "), PREFIX).is_some());
}

#[test]
fn a_second_line_inside_one_record() {
    let whole = format!("{PREFIX}{FIELDS}");
    for separator in [
        "\n", "\r", "\r\n", "#012", "\\n", "\x0b", "\u{2028}", "\x1b[2K", "\0", " \n",
    ] {
        for line in [
            format!("harmless{separator}{whole} "),
            format!("{whole} {separator}{whole} "),
            format!("{whole}{separator}{whole}"),
        ] {
            assert_eq!(hit(believed(&line, PREFIX)), None, "{separator:?}");
        }
        let both = format!("{whole} {separator}{whole} ");
        assert_eq!(
            hit(read(both.as_bytes(), Printer::Kernel)),
            None,
            "{separator:?}"
        );
    }
}

#[test]
fn an_interface_named_like_a_field() {
    let line = format!("{PREFIX}{}", FIELDS.replace("IN=eth0", "IN=SRC=9.9.9.9"));
    let packet = believed(&line, PREFIX).unwrap().unwrap();
    assert_eq!(packet.iif, b"SRC=9.9.9.9");
    assert_eq!(packet.headers.src, IpAddr::from([198, 51, 100, 66]));
}

#[test]
fn fields_that_no_kernel_writes() {
    for (right, wrong) in [
        ("SRC=198.51.100.66", "SRC=198.51.100.66 SRC=192.0.2.2"),
        (
            "SRC=198.51.100.66 DST=203.0.113.1",
            "DST=203.0.113.1 SRC=198.51.100.66",
        ),
        ("SRC=198.51.100.66", "SRC="),
        ("SRC=198.51.100.66", "src=198.51.100.66"),
        ("SRC=198.51.100.66", "SRC=198.51.100.666"),
        ("SRC=198.51.100.66", "SRC=198.51.100.066"),
        ("SRC=198.51.100.66", "SRC=198.51.100.66.1"),
        ("SRC=198.51.100.66", "SRC=2001:db8::1"),
        ("SRC=198.51.100.66", "SRC=fe80::1%eth0"),
        ("PROTO=TCP", "evil PROTO=TCP"),
        ("PROTO=TCP", "PROTO=tcp"),
        ("PROTO=TCP", "PROTO=TCP PROTO=UDP"),
        ("SPT=4444 DPT=7000", "DPT=7000 SPT=4444"),
        ("DPT=7000", "DPT=70000"),
        ("DPT=7000", "DPT=-1"),
        ("DPT=7000", "DPT=+7000"),
        ("DPT=7000", "DPT=007000"),
        ("DPT=7000", "DPT=7000x"),
        ("DPT=7000", "DPT="),
        ("DPT=7000", "DPT=7000 DPT=7001"),
        ("DPT=7000", "DPT=7000,"),
        ("LEN=60", "LEN=4294967296"),
        ("TTL=64", "TTL=256"),
        ("ID=1", "ID=65536"),
        ("TOS=0x00", "TOS=0x0"),
        ("WINDOW=64240", "WINDOW=65536"),
        ("SYN", "SYN SYN"),
        ("SYN", "SYN ACK"),
        ("SYN", "syn"),
        ("URGP=0", "URGP=0x"),
        ("URGP=0", "URGP=0 and more"),
        ("IN=eth0", "IN=eth0 "),
        ("IN=eth0", "IN=eth\t0"),
        ("IN=eth0", "IN=eth/0"),
        ("IN=eth0", "IN=a-name-too-long1"),
        (" DST", "  DST"),
        (" DST", "\tDST"),
        ("MAC=", "MAC=00:11 22"),
    ] {
        assert!(FIELDS.contains(right));
        let line = format!("{PREFIX}{} ", FIELDS.replacen(right, wrong, 1));
        assert!(believed(&line, PREFIX).is_err(), "{line}");
        assert!(
            !matches!(read(line.as_bytes(), Printer::Kernel), Ok(Some(_))),
            "{line}"
        );
    }
}

#[test]
fn a_fragment_or_a_cut_header_has_no_port() {
    let ports = "SPT=4444 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0";
    let fragment = FIELDS.replace("DF PROTO", "FRAG:64 PROTO");
    for (fields, expected) in [
        (fragment.replace(ports, ""), Ok(None)),
        (FIELDS.replace(ports, "INCOMPLETE [8 bytes] "), Ok(None)),
        (fragment.clone(), Err(Reason::Grammar)),
        (
            fragment.replace(&format!("PROTO=TCP {ports}"), ""),
            Err(Reason::NoPort),
        ),
    ] {
        let line = format!("{PREFIX}{fields}");
        let ports = believed(&line, PREFIX).map(|packet| packet.unwrap().headers.ports);
        assert_eq!(ports, expected, "{line}");
    }
}

#[test]
fn another_prefix_or_text_in_front_of_it() {
    let line = format!("{PREFIX}{FIELDS} ");
    for prefix in [
        "",
        "LKNOCK",
        "LKNOCK:",
        "LKNOCK:  ",
        "KNOCK: ",
        "lknock: ",
        "LKNOCK: I",
    ] {
        assert_eq!(believed(&line, prefix), Err(Reason::Prefix), "{prefix}");
    }
    for text in [" ", "x", "usb 1-1: Product: "] {
        let line = format!("{text}{line}");
        assert_eq!(believed(&line, PREFIX), Err(Reason::Prefix), "{text}");
    }
}

#[test]
fn a_line_that_was_cut_in_its_port() {
    let (head, _) = FIELDS.split_once("00 WINDOW").unwrap();
    let half = format!("{PREFIX}{head}");
    assert_eq!(believed(&half, PREFIX), Err(Reason::Truncated));
    let whole = format!("{half}00");
    assert_eq!(believed(&whole, PREFIX), Err(Reason::Truncated));
    let joined = format!("{half}{PREFIX}{FIELDS}");
    assert_eq!(hit(believed(&joined, PREFIX)), None);
    assert_eq!(hit(read(joined.as_bytes(), Printer::Kernel)), None);
}

#[test]
fn two_lines_of_an_old_kernel_on_one() {
    let cut = FIELDS.split_once(" DST").unwrap().0;
    let line = format!("{PREFIX}{cut} <4>{PREFIX}{FIELDS} ");
    assert_eq!(hit(believed(&line, PREFIX)), None);
    assert_eq!(hit(read(line.as_bytes(), Printer::Kernel)), None);
}

#[test]
fn other_grammars_with_the_same_words() {
    for line in [
        "EBT IN=eth0 OUT=eth1 MAC source = 38:2c:4a:64:d1:50 MAC dest = a4:91:b1:4f:6b:e8 proto = 0x0800 IP SRC=192.0.2.1 IP DST=192.0.2.2, IP tos=0x00, IP proto=6 SPT=55028 DPT=7000",
        "X IN=eth0 OUT= MACSRC=52:54:00:65:43:21 MACDST=52:54:00:12:34:56 MACPROTO=0806 ARP HTYPE=1 PTYPE=0x0800 OPCODE=1 MACSRC=52:54:00:65:43:21 IPSRC=192.0.2.1 MACDST=00:00:00:00:00:00 IPDST=192.0.2.2",
        "X IN=eth0 OUT= MAC= SRC=192.0.2.1 DST=192.0.2.2 PROTO=ARP REQUEST",
    ] {
        assert!(read(line.as_bytes(), Printer::Kernel).is_err(), "{line}");
    }
    for line in [
        "PACKET: 2 1266087f IN=eth0 MACSRC=2:42:ac:16:0:2 SRC=192.0.2.1 DST=192.0.2.2 SPORT=57798 DPORT=7000 SYN",
        "ORIG: SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP SPT=4444 DPT=7000 PKTS=8 BYTES=580",
        "SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP SPT=4444 DPT=7000 LEN=20",
    ] {
        assert_eq!(read(line.as_bytes(), Printer::Kernel), Ok(None), "{line}");
    }
}
