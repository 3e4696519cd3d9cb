//! Lines that the kernel did not write, or in which it repeats a stranger's words: none opens a door.
//! What needs a real kernel or a real syslog is in `tests/netfilter`.

use std::net::IpAddr;

use logknock::dialect::Format;
use logknock::engine::reading::Expected;
use logknock::engine::reason::Reason;

use super::forger::{
    FORGER, PREFIX, SEQUENCE, STRICT, forged, is_rejected, kernel, knock, logged, replay, secret,
    syn,
};

#[test]
fn the_genuine_line_that_all_forgeries_imitate_opens() {
    let told = replay(Format::Kernel, secret(), STRICT, &[knock(0, FORGER)]);
    assert_eq!(told.opened, [FORGER.parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_program_that_crashes_under_the_name_of_a_log_line_is_the_kernels_word_and_no_packet() {
    // The kernel shows 15 bytes of a program's name in front, and the whole name behind.
    for comm in [
        "lk-4f9a1c7e: IN",
        "lk-4f9a1c7e: ",
        "lk-4f9a1c7e: IN=eth0 OUT=",
    ] {
        for end in ["[1132,55d0c0de0000+1000] likely on CPU 0", ""] {
            let rejected = forged(|place, port| {
                let name = format!("{PREFIX}{}", syn(FORGER, port));
                kernel(
                    place,
                    &format!("{comm}[24582]: segfault at 0 ip 0 sp 0 error 4 in {name}{end}"),
                )
            });
            let sum = rejected.of(Reason::Grammar) + rejected.of(Reason::Prefix);
            assert_eq!(sum, 3, "{comm}{end}: {rejected:?}");
        }
    }
}

#[test]
fn with_no_prefix_at_all_a_crash_is_still_no_packet() {
    for comm in ["IN=eth0 OUT=", "x", "IN=eth0 OUT= SR"] {
        let crash = |(place, port)| {
            kernel(
                place,
                &format!(
                    "{comm}[24582]: segfault at 0 in {}[1132,55d0+1000]",
                    syn(FORGER, port)
                ),
            )
        };
        let log: String = SEQUENCE.into_iter().enumerate().map(crash).collect();
        let told = replay(Format::Kernel, Expected::AnyPrefix, STRICT, &[log]);
        assert!(told.seen.is_empty() && told.hits == 0, "{comm}: {told:?}");
    }
}

#[test]
fn records_that_users_wrote_to_the_kernels_log_are_not_the_kernels() {
    for head in [
        "12,7,100500000,-;",
        "8,7,100500000,-;",
        "30,7,100500000,-;",
        "12,7,100500000,-;kernel[4711]: ",
    ] {
        let rejected = forged(|place, port| {
            format!(
                "{}{PREFIX}{}\n",
                head.replace(",7,", &format!(",{place},")),
                syn(FORGER, port)
            )
        });
        assert_eq!(
            rejected.iter().map(|(_, count)| count).sum::<u64>(),
            3,
            "{head}"
        );
    }
    // dmesg -r writes the facility like this.
    is_rejected(Reason::Facility, |place, port| {
        format!(
            "<12>[  {}.500000] {PREFIX}{}\n",
            100 + place,
            syn(FORGER, port)
        )
    });
}

#[test]
fn journal_entries_that_users_sent_are_not_the_kernels() {
    for (fields, reason) in [
        (
            r#""_TRANSPORT":"journal","SYSLOG_FACILITY":"0","SYSLOG_IDENTIFIER":"kernel""#,
            Reason::Transport,
        ),
        (
            r#""_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel""#,
            Reason::Transport,
        ),
        (
            r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"1","SYSLOG_IDENTIFIER":"kernel""#,
            Reason::Facility,
        ),
    ] {
        let entry = |port| {
            format!(
                "{{{fields},\"MESSAGE\":\"{PREFIX}{}\"}}\n",
                syn(FORGER, port)
            )
        };
        let log: String = SEQUENCE.into_iter().map(entry).collect();
        let told = replay(Format::JournalJson, secret(), STRICT, &[log]);
        assert!(told.seen.is_empty(), "{fields}");
        assert_eq!(told.rejected.of(reason), 3, "{fields}: {told:?}");
    }
}

#[test]
fn a_packet_quoted_by_an_icmp_error_is_no_knock() {
    let error = |quoted: &str| {
        format!(
            "{PREFIX}IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC=198.51.100.66 DST=192.0.2.1 \
             LEN=88 TOS=0x00 PREC=0xC0 TTL=64 ID=1 PROTO=ICMP TYPE=3 CODE=3 {quoted}"
        )
    };
    let inner = |port: u16| {
        format!(
            "SRC={FORGER} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={port} DF PROTO=TCP SPT=4{port} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 "
        )
    };
    is_rejected(Reason::Protocol, |place, port| {
        kernel(place, &error(&format!("[{}] ", inner(port))))
    });
    for quoted in [
        "[SRC=6.6.6.6 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 PROTO=TCP INCOMPLETE [4 bytes] ] ",
        "[SRC=6.6.6.6 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 PROTO=TCP SPT=47000 DPT=70",
        "[[SRC=6.6.6.6 DST=192.0.2.1 PROTO=TCP SPT=47000 DPT=7000 SYN ] ] ",
        "[INCOMPLETE [0 bytes] ] ",
        "] SRC=6.6.6.6 PROTO=TCP SPT=47000 DPT=7000 SYN [",
    ] {
        forged(|place, _| kernel(place, &error(quoted)));
    }
}

#[test]
fn what_other_programs_write_is_theirs_whatever_they_quote() {
    for tag in [
        "sshd[1]: Invalid user kernel: ",
        "sshd[1]: ",
        "su: ",
        "kernel[0]: ",
        "xkernel: ",
        "Kernel: ",
        "httpd: \"GET /kernel: ",
        "evil: kernel: ",
        "evil: fw kernel: [  100.500000] ",
    ] {
        let rejected =
            forged(|place, port| logged(place, &format!("{tag}{PREFIX}{}", syn(FORGER, port))));
        assert_eq!(
            rejected.of(Reason::Program) + rejected.of(Reason::Prefix),
            3,
            "{tag}"
        );
    }
}

#[test]
fn one_record_stays_one_however_it_is_broken() {
    for (separator, name) in [
        ("\r", "CR"),
        ("#012", "rsyslog's newline"),
        ("\\n", "an escaped newline"),
        ("\x0b", "VT"),
        ("\u{2028}", "U+2028"),
        ("\x1b[2K\r", "ESC"),
        ("\x00", "NUL"),
        ("\\x0a", "the kernel's newline"),
    ] {
        for head in ["some words", "audit: user=", "lk-4f9a1c7e: IN=eth0 OUT= "] {
            forged(|place, port| {
                let second = format!("{separator}kernel: {PREFIX}{}", syn(FORGER, port));
                kernel(place, &format!("{head}{second}"))
            });
            forged(|place, port| {
                logged(
                    place,
                    &format!("sshd[1]: {head}{separator}{PREFIX}{}", syn(FORGER, port)),
                )
            });
        }
        let behind = format!("{separator}{}", logged(1, "kernel: x").trim_end());
        let rejected =
            forged(|place, port| kernel(place, &format!("{PREFIX}{}{behind}", syn(FORGER, port))));
        assert!(
            rejected.of(Reason::Grammar) > 0 || rejected.of(Reason::Truncated) > 0,
            "{name}"
        );
    }
}

#[test]
fn a_message_of_the_journal_with_a_newline_in_it_is_one_message() {
    for message in [
        |line: &str| format!("x\\n{line}"),
        |line: &str| format!("{line}\\n{line}"),
        |line: &str| format!("{line}\\u0000"),
    ] {
        let entry = |port| {
            let message = message(&format!("{PREFIX}{}", syn(FORGER, port)));
            format!(
                "{{\"_TRANSPORT\":\"kernel\",\"SYSLOG_FACILITY\":\"0\",\"MESSAGE\":\"{message}\"}}\n"
            )
        };
        let log: String = SEQUENCE.into_iter().map(entry).collect();
        let told = replay(Format::JournalJson, secret(), STRICT, &[log]);
        assert!(told.seen.is_empty(), "{told:?}");
    }
}
