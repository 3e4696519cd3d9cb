//! Each format counts where it is configured, and only there.

use super::*;

const SECRET: &[u8] = b"lk-4f9a1c7e: ";
const PACKET: &str = "lk-4f9a1c7e: IN=eth0 OUT= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF PROTO=TCP SPT=40000 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0 ";

/// The format `json`.
fn json() -> Format {
    Format::Json(Box::new(Keys::common()))
}

/// What a reader of `format` makes of `line`: its port, or why not.
fn read(format: Format, line: &str) -> Result<Option<u16>, Reason> {
    let reader = Reader::new(format, Expected::Prefix(SECRET.into()));
    let opened = reader.open(line.as_bytes());
    let read = reader.read(&opened)?;
    Ok(read.and_then(|(_, packet)| Some(packet.headers.ports?.dst)))
}

#[test]
fn json_does_not_count_unless_it_is_configured() {
    let line = format!(r#"{{"message":"{PACKET}"}}"#);
    assert_eq!(read(Format::Kernel, &line), Err(Reason::Header));
    assert_eq!(read(json(), &line), Err(Reason::Program));
    let line = format!(r#"{{"program":"kernel","message":"{PACKET}"}}"#);
    assert_eq!(read(Format::Kernel, &line), Err(Reason::Header));
    assert_eq!(read(json(), &line), Ok(Some(7000)));
}

#[test]
fn text_does_not_count_where_json_is_configured() {
    for format in [json(), Format::JournalJson, Format::UlogdJson] {
        assert_eq!(read(format.clone(), PACKET), Err(Reason::Header));
        assert_eq!(read(format, "Nov 20 21:00:00 fw cron[7]: x"), Ok(None));
    }
}

#[test]
fn ulogds_tag_counts_where_it_is_configured_and_no_other() {
    let line = |tag: &str| format!("Nov 20 21:00:00 fw {tag} {PACKET}");
    for tag in ["ulogd[812]:", "ulogd:"] {
        assert_eq!(
            read(Format::Kernel, &line(tag)),
            Err(Reason::Program),
            "{tag}"
        );
        assert_eq!(read(Format::Ulogd, &line(tag)), Ok(Some(7000)), "{tag}");
    }
    assert_eq!(read(Format::Ulogd, &line("kernel:")), Ok(Some(7000)));
    for tag in [
        "ulogd2[812]:",
        "ulogd[x]:",
        "sshd[812]:",
        "ulogd[812]: kernel:",
        "ulogd[1]: x",
    ] {
        assert!(read(Format::Ulogd, &line(tag)).is_err(), "{tag}");
    }
}

fn ulogd_json(prefix: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-20T21:00:00+0000","oob.prefix":"{prefix}","oob.in":"eth0","oob.out":"","src_ip":"203.0.113.7","dest_ip":"192.0.2.1","ip.protocol":6,"src_port":40000,"dest_port":7000,"tcp.syn":1}}"#
    )
}

#[test]
fn ulogds_json_counts_behind_exactly_the_prefix() {
    let read = |prefix: &str| read(Format::UlogdJson, &ulogd_json(prefix));
    assert_eq!(read("lk-4f9a1c7e: "), Ok(Some(7000)));
    for prefix in ["lk-4f9a1c7e:", "x lk-4f9a1c7e: ", "", "lk-4f9a1c7e: x"] {
        assert_eq!(read(prefix), Err(Reason::Prefix), "{prefix}");
    }
    assert_eq!(guess::read(ulogd_json("x").as_bytes()).record().host, b"");
}

fn journal(transport: &str, facility: &str, message: &str) -> Result<Option<u16>, Reason> {
    let line = format!(r#"{{{transport}{facility}"MESSAGE":"{message}"}}"#);
    read(Format::JournalJson, &line)
}

#[test]
fn a_journal_entry_counts_only_when_both_trusted_fields_say_so() {
    const KERNEL: &str = r#""_TRANSPORT":"kernel","#;
    const KERN: &str = r#""SYSLOG_FACILITY":"0","#;
    assert_eq!(journal(KERNEL, KERN, PACKET), Ok(Some(7000)));
    for (transport, facility, reason) in [
        ("", "", Reason::Transport),
        ("", KERN, Reason::Transport),
        (KERNEL, "", Reason::Transport),
        (r#""_TRANSPORT":"journal","#, KERN, Reason::Transport),
        (r#""_TRANSPORT":"syslog","#, "", Reason::Transport),
        (KERNEL, r#""SYSLOG_FACILITY":"1","#, Reason::Facility),
        (KERNEL, r#""SYSLOG_FACILITY":["0","1"],"#, Reason::Facility),
        (
            r#""_TRANSPORT":["kernel","journal"],"#,
            KERN,
            Reason::Transport,
        ),
    ] {
        assert_eq!(
            journal(transport, facility, PACKET),
            Err(reason),
            "{transport}{facility}"
        );
    }
}

#[test]
fn a_journal_message_is_the_kernels_from_its_first_byte() {
    const TRUSTED: &str = r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","#;
    for before in [
        "x ",
        "kernel: ",
        "[    1.000000] ",
        "Nov 20 21:00:00 fw kernel: ",
    ] {
        let message = format!("{before}{PACKET}");
        assert_eq!(
            journal(TRUSTED, "", &message),
            Err(Reason::Prefix),
            "{before}"
        );
    }
}

#[test]
fn a_shippers_envelope_that_names_another_program_does_not_count() {
    for (line, expected) in [
        (
            format!(r#"{{"program":"kernel","message":"{PACKET}"}}"#),
            Ok(Some(7000)),
        ),
        (
            format!(r#"{{"message":"Nov 20 21:00:00 fw kernel: [    1.5] {PACKET}"}}"#),
            Ok(Some(7000)),
        ),
        (
            format!(r#"{{"program":"sshd","message":"{PACKET}"}}"#),
            Err(Reason::Program),
        ),
        (
            format!(r#"{{"message":"Nov 20 21:00:00 fw sshd[1]: kernel: {PACKET}"}}"#),
            Err(Reason::Program),
        ),
        (format!(r#"{{"message":"{PACKET}","#), Err(Reason::Header)),
        (r#"{"message":"x"}"#.to_owned(), Ok(None)),
        (ulogd_json("lk-4f9a1c7e: "), Ok(None)),
    ] {
        assert_eq!(read(json(), &line), expected, "{line}");
    }
}

#[test]
fn the_kernels_own_transports_are_read_as_the_kernel_writes() {
    let reader = Reader::new(json(), Expected::AnyPrefix);
    assert_eq!(reader.of(&SourceSpec::Kmsg).format, Format::Kernel);
    assert_eq!(reader.of(&SourceSpec::Journald).format, Format::Kernel);
    assert_eq!(reader.of(&SourceSpec::Stdin).format, json());
}

#[test]
fn keys_of_the_operators_own_say_who_wrote_an_entry() {
    let key = |key: &str| vec![Box::from(key)];
    let own = Format::Json(Box::new(Keys {
        message: key("data.text"),
        program: key("who"),
        facility: key("fac"),
        ..Keys::default()
    }));
    for (fields, expected) in [
        (r#""who":"kernel""#, Ok(Some(7000))),
        (r#""who":"kernel","fac":"kern","tag":"x""#, Ok(Some(7000))),
        (r#""who":"kernel","fac":"user""#, Err(Reason::Facility)),
        (r#""who":"evil""#, Err(Reason::Program)),
        (r#""program":"kernel""#, Err(Reason::Program)),
        (r#""who":["kernel"]"#, Err(Reason::Program)),
    ] {
        let line = format!(r#"{{{fields},"data":{{"text":"{PACKET}"}}}}"#);
        assert_eq!(read(own.clone(), &line), expected, "{fields}");
    }
}

#[test]
fn a_whole_line_in_an_object_has_the_kernels_tag_and_no_other_writer() {
    let own = Format::Json(Box::new(Keys {
        message: vec!["raw".into()],
        ..Keys::default()
    }));
    for (fields, tag, expected) in [
        (r#""file":"kern.log""#, "kernel:", Ok(Some(7000))),
        (
            r#""file":"kern.log""#,
            "evil: kernel:",
            Err(Reason::Program),
        ),
        (r#""file":"kern.log""#, "", Err(Reason::Program)),
        (r#""logger":"evil""#, "kernel:", Err(Reason::Program)),
        (r#""PID":"4711""#, "kernel:", Err(Reason::Program)),
    ] {
        let line = format!(r#"{{{fields},"raw":"Nov 20 21:00:00 fw {tag} {PACKET}"}}"#);
        assert_eq!(read(own.clone(), &line), expected, "{fields} {tag}");
    }
}
