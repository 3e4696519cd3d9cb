//! Packets that are no knock, or not yet another one, though the kernel may have logged them.

use std::net::IpAddr;

use logknock::dialect::{Format, Reader};
use logknock::engine::reason::Reason;
use proptest::prelude::*;

use super::forger::{
    FORGER, OWNER, PREFIX, SEQUENCE, STRICT, forged, is_rejected, kernel, knock, logged, replay,
    secret, syn,
};

#[test]
fn an_interface_that_is_called_like_a_field_is_an_interface() {
    for name in ["SRC=9.9.9.9", "DPT=1", "IN=x", "OUT=x"] {
        let log = knock(0, OWNER).replace("IN=eth0", &format!("IN={name}"));
        let told = replay(Format::Kernel, secret(), STRICT, &[log]);
        assert_eq!(told.opened, [OWNER.parse::<IpAddr>().unwrap()], "{name}");
    }
}

#[test]
fn a_line_off_the_kernels_grammar_is_no_packet() {
    for (from, to) in [
        ("SRC=6.6.6.6", "SRC=1.1.1.1 SRC=6.6.6.6"),
        ("SRC=6.6.6.6", "SRC=6.6.6.6 SRC=1.1.1.1"),
        ("SRC=6.6.6.6 DST=192.0.2.1", "DST=192.0.2.1 SRC=6.6.6.6"),
        ("PROTO=TCP", "x PROTO=TCP"),
        ("PROTO=TCP", "proto=TCP"),
        ("SRC=6.6.6.6", "SRC="),
        ("SRC=6.6.6.6", "SRC=6.6.6"),
        ("SRC=6.6.6.6", "SRC=6.6.6.06"),
        ("SRC=6.6.6.6", "SRC=6.6.6.256"),
        (" WINDOW", "0 WINDOW"),
        (" WINDOW", "x WINDOW"),
        ("DPT=", "DPT=-"),
        ("DPT=", "DPT=00"),
        ("DPT=", "DPT= "),
        ("SPT=", "DPT=1 SPT="),
        ("URGP=0 ", "URGP=0 and more"),
        ("SYN URGP", "SYN EVIL URGP"),
        ("IN=eth0", "IN=a-name-of-sixteen"),
    ] {
        let rejected = forged(|place, port| {
            let fields = syn(FORGER, port).replacen(from, to, 1);
            kernel(place, &format!("{PREFIX}{fields}"))
        });
        assert_eq!(
            rejected.of(Reason::Grammar),
            3,
            "{from} → {to}: {rejected:?}"
        );
    }
}

#[test]
fn a_packet_of_another_kind_than_the_step_advances_nothing() {
    for (from, to) in [
        ("PROTO=TCP", "PROTO=47"),
        (" SYN ", " ACK SYN "),
        (" SYN ", " RST "),
        (" SYN ", " FIN "),
        (" SYN ", " "),
    ] {
        let log: String = knock(0, FORGER).replace(from, to);
        let told = replay(Format::Kernel, secret(), STRICT, &[log]);
        assert!(
            told.opened.is_empty() && told.seen.is_empty(),
            "{to}: {told:?}"
        );
    }
}

#[test]
fn a_packet_without_ports_is_no_knock() {
    let ip = |rest: &str| {
        format!(
            "{PREFIX}IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC={FORGER} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 {rest}"
        )
    };
    for rest in [
        "FRAG:64 PROTO=TCP ",
        "PROTO=TCP INCOMPLETE [4 bytes] ",
        "MF FRAG:185 PROTO=UDP ",
    ] {
        is_rejected(Reason::NoPort, |place, _| kernel(place, &ip(rest)));
    }
}

#[test]
fn a_packet_out_of_scope_is_no_knock() {
    is_rejected(Reason::Forwarded, |place, port| {
        kernel(
            place,
            &format!("{PREFIX}{}", syn(FORGER, port).replace("OUT=", "OUT=eth1")),
        )
    });
    for prefix in [
        "",
        "KNOCK: ",
        "lk-4f9a1c7e:",
        "lk-4f9a1c7e:  ",
        "x lk-4f9a1c7e: ",
        "LK-4f9a1c7e: ",
        "lk-4f9a1c7e: x ",
    ] {
        let rejected =
            forged(|place, port| kernel(place, &format!("{prefix}{}", syn(FORGER, port))));
        let sum = rejected.of(Reason::Prefix) + rejected.of(Reason::Grammar);
        assert_eq!(sum, 3, "'{prefix}': {rejected:?}");
    }
    let door = format!("{STRICT}\ninterface = \"eth7\"");
    let told = replay(Format::Kernel, secret(), &door, &[knock(0, FORGER)]);
    assert!(told.seen.is_empty(), "{told:?}");
}

#[test]
fn one_packet_in_two_logs_is_one_knock() {
    let door = "sequence = [7000, 7000]";
    let one = kernel(0, &format!("{PREFIX}{}", syn(FORGER, 7000)));
    let told = replay(Format::Kernel, secret(), door, &[one.clone(), one.clone()]);
    assert_eq!(
        (told.opened.len(), told.rejected.of(Reason::Duplicate)),
        (0, 1)
    );
    let other = kernel(
        1,
        &format!("{PREFIX}{}", syn(FORGER, 7000).replace("SPT=4", "SPT=5")),
    );
    let told = replay(
        Format::Kernel,
        secret(),
        door,
        &[one.clone() + &other, one + &other],
    );
    assert_eq!(
        (told.opened.len(), told.rejected.of(Reason::Duplicate)),
        (1, 2)
    );
}

#[test]
fn what_syslog_says_was_repeated_is_no_further_knock() {
    let repeated = |text: &str| {
        let genuine = kernel(0, &format!("{PREFIX}{}", syn(FORGER, 7000)));
        let again = logged(1, &format!("kernel: message repeated 3 times: [ {text}]"));
        let door = "sequence = [7000, 7000]";
        replay(Format::Kernel, secret(), door, &[genuine + &again])
    };
    for text in [
        format!("{PREFIX}{}", syn(FORGER, 7000)),
        format!("{PREFIX}{}", syn(FORGER, 7000).replace("SPT=4", "SPT=5")),
        format!(
            "[  101.500000] {PREFIX}{}",
            syn(FORGER, 7000).replace("SPT=4", "SPT=5")
        ),
    ] {
        let told = repeated(&text);
        assert_eq!(
            (told.opened.len(), told.rejected.of(Reason::Repeated)),
            (0, 1),
            "{text}"
        );
    }
}

#[test]
fn a_sequence_out_of_order_is_not_put_in_order() {
    let mut lines: Vec<String> = knock(0, FORGER)
        .lines()
        .map(|line| format!("{line}\n"))
        .collect();
    lines.swap(0, 1);
    let told = replay(Format::Kernel, secret(), STRICT, &[lines.concat()]);
    assert!(told.opened.is_empty(), "{told:?}");
}

#[test]
fn lines_of_two_boots_are_not_one_sequence() {
    let step = |seconds: usize, uptime: usize, port| {
        logged(
            seconds,
            &format!("kernel: [  {uptime}.500000] {PREFIX}{}", syn(FORGER, port)),
        )
    };
    let log = step(0, 900, 7000) + &step(1, 901, 8000) + &step(2, 1, 9000);
    assert!(
        replay(Format::Kernel, secret(), STRICT, &[log])
            .opened
            .is_empty()
    );
}

#[test]
fn one_address_is_one_knocker_in_every_spelling() {
    let ipv6 = [
        "2001:db8::7",
        "2001:0db8:0000:0000:0000:0000:0000:0007",
        "2001:DB8:0::0007",
    ];
    let mapped = [
        "203.0.113.7",
        "0000:0000:0000:0000:0000:ffff:cb00:7107",
        "::ffff:203.0.113.7",
    ];
    for (spellings, dst, canonical) in [
        (ipv6, "2001:db8::1", "2001:db8::7"),
        (mapped, "::ffff:192.0.2.1", "203.0.113.7"),
    ] {
        let line = |(place, (port, src)): (usize, (u16, &str))| {
            let fields = syn(src, port);
            let fields = if src.contains(':') {
                fields
                    .replace("DST=192.0.2.1", &format!("DST={dst}"))
                    .replace(
                        &format!("TOS=0x00 PREC=0x00 TTL=52 ID={port} DF"),
                        "TC=0 HOPLIMIT=64 FLOWLBL=0",
                    )
            } else {
                fields
            };
            kernel(place, &format!("{PREFIX}{fields}"))
        };
        let lines = SEQUENCE.into_iter().zip(spellings).enumerate();
        let told = replay(
            Format::Kernel,
            secret(),
            STRICT,
            &[lines.map(line).collect()],
        );
        let opened: Vec<String> = told.opened.iter().map(ToString::to_string).collect();
        assert_eq!(opened, [canonical], "{told:?}");
    }
}

#[test]
fn addresses_that_no_stranger_can_have_never_knock() {
    for src in [
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "192.0.2.1",
    ] {
        is_rejected(Reason::Never, |place, port| {
            kernel(place, &format!("{PREFIX}{}", syn(src, port)))
        });
    }
}

proptest! {
    /// However a genuine line is damaged, it names no other address and no other port.
    #[test]
    fn damage_invents_nobody(
        port in 0..3_usize,
        cut in 0..400_usize,
        insert in prop::option::of((0..400_usize, any::<char>())),
    ) {
        let line = kernel(0, &format!("{PREFIX}{}", syn(FORGER, SEQUENCE[port])));
        let mut damaged: String = line.trim_end_matches('\n').chars().take(cut).collect();
        if let Some((at, character)) = insert {
            let at = at.min(damaged.chars().count());
            let byte = damaged.char_indices().nth(at).map_or(damaged.len(), |(byte, _)| byte);
            damaged.insert(byte, character);
        }
        let reader = Reader::new(Format::Kernel, secret());
        for line in damaged.split('\n') {
            let opened = reader.open(line.as_bytes());
            if let Ok(Some((_, packet))) = reader.read(&opened) {
                let digit = insert.is_some_and(|(_, character)| character.is_ascii_digit());
                prop_assert!(digit || packet.headers.src.to_string() == FORGER);
                let dpt = packet.headers.ports.map_or(SEQUENCE[port], |ports| ports.dst);
                prop_assert!(digit || dpt == SEQUENCE[port]);
            }
        }
    }

    /// Every line counts once: as a hit, under one reason, or not at all when it is about something else.
    #[test]
    fn every_line_is_counted_once(lines in prop::collection::vec(any_line(), 0..40)) {
        let counted = |log: String| {
            let told = replay(Format::Kernel, secret(), STRICT, &[log]);
            told.hits + told.rejected.iter().map(|(_, count)| count).sum::<u64>()
        };
        let each: Vec<u64> = lines.iter().map(|line| counted(line.clone())).collect();
        prop_assert!(each.iter().all(|&count| count <= 1));
        prop_assert_eq!(counted(lines.concat()), each.iter().sum::<u64>());
    }
}

fn any_line() -> impl Strategy<Value = String> {
    let text = |port: u16, kind: usize| {
        let fields = syn(FORGER, port);
        match kind {
            0 | 1 => format!("kernel: {PREFIX}{fields}"),
            2 => format!("kernel: OTHER: {fields}"),
            3 => format!("sshd[1]: {PREFIX}{fields}"),
            4 => format!("kernel: {PREFIX}{}", fields.replace("TTL", "TLT")),
            5 => format!("kernel: {PREFIX}{}", &fields[..fields.len() - 40]),
            6 => format!("kernel: {PREFIX}{}", fields.replace("OUT=", "OUT=eth1")),
            7 => format!(
                "kernel: {PREFIX}{}",
                fields.replace("PROTO=TCP", "PROTO=47")
            ),
            8 => format!("kernel: message repeated 2 times: [ {PREFIX}{fields}]"),
            9 => "x".repeat(9_000),
            _ => "kernel: usb 1-1: new device".to_owned(),
        }
    };
    (6998..7002_u16, 0..11_usize, 0..60_usize)
        .prop_map(move |(port, kind, seconds)| logged(seconds, &text(port, kind)))
}
