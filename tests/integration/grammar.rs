//! What must hold for every line, by chance: no panic, no misreading of a damaged or cut line.

use logknock::dialect::{self, Verdict};
use logknock::engine::line::{self, Writer};
use logknock::engine::packet::{self, Packet};
use proptest::prelude::*;

use super::netfilter_line::{Dice, Line};

/// What may stand in front of a kernel message in a log.
const FRAMINGS: &[&str] = &[
    "Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
    "Nov  2 21:00:00 fw kernel: [    1.234567][   T17] ",
    "Nov 2 21:00:00 192.0.2.1 kernel: ",
    "Nov 20 21:00:00 kernel: ",
    "Nov 20 21:00:00 kernel: kernel: [ 1234.000000] ",
    "Nov 20 21:00:00 fw fw user.warn kernel: [ 1234.000000] ",
    "<4>Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
    "2026-11-20T21:01:10,123456+0100 fw kernel: [ 1234.000000] ",
    "2026-11-20T20:01:10.123456Z fw kernel: ",
    "2026-11-20T21:01:10.123456 [ 1234.000000] ",
    "Fri 2026-11-20 21:01:10 CET fw kernel: ",
    "<4>1 2026-11-20T21:01:05.123456+01:00 192.0.2.1 kernel - - - ",
    "<4>1 2026-11-20T21:01:05Z fw kernel - - [meta x=\"a] b \\\" c\"][z] ",
    "Fri Nov 20 13:31:15 2026 kern.warn kernel: [45020.393820] ",
    "[Fri Nov 20 21:55:11 2026] ",
    "[    1.234567] ",
    "[    1.234567] [   T17] ",
    "[ 1234.567890] fw kernel: ",
    "<6>[ 5739.482168] ",
    "4,2451,1234000000,-;",
    "4,2451,1234000000,-,caller=T123,future=1;",
    "kernel: ",
    "    kernel: [ 9271.326139] ",
    "\0\0\0\0Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
    "MESSAGE=",
    "2026-11-20 21:01:10.222382500 <4>",
    "kern.log:12:Nov 20 21:00:00 fw kernel: [ 1234.000000] ",
];

/// Reads `line` in every way there is; what comes out is for the caller to judge.
fn read_in_every_way(line: &[u8]) {
    let record = line::read(line);
    assert!(record.tagged.ends_with(record.message));
    let _ = packet::read(record.message, packet::Printer::Kernel);
    let _ = packet::read(line, packet::Printer::Kernel);
    for prefix in [&b""[..], b"KNOCK: ", b"[UFW BLOCK] ", line] {
        if let Ok(Some(packet)) = packet::read_behind(line, prefix, packet::Printer::Kernel) {
            assert_eq!(packet.prefix, prefix);
        }
    }
    let _ = dialect::read(line).record();
    let _ = dialect::read(line).verdict();
}

/// Addresses and ports are what a misreading must never change.
fn is_misread(read: &Packet<'_>, line: &Line) -> bool {
    let right = line.packet();
    (read.headers.src, read.headers.dst) != (right.headers.src, right.headers.dst)
        || read
            .headers
            .ports
            .is_some_and(|ports| Some(ports) != right.headers.ports)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn no_bytes_make_a_reader_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
        read_in_every_way(&line);
    }

    #[test]
    fn no_damage_to_a_line_makes_a_reader_panic(
        seed: u64,
        framing in prop::sample::select(FRAMINGS),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 0..6),
    ) {
        let mut line = [framing.as_bytes(), &Line::new(seed).message()].concat();
        for (place, byte, edit) in edits {
            if line.is_empty() {
                break;
            }
            let place = place.index(line.len());
            match edit {
                0 => drop(line.remove(place)),
                1 => line.insert(place, byte),
                _ => line[place] = byte,
            }
        }
        read_in_every_way(&line);
    }

    #[test]
    fn a_line_by_the_grammar_is_read_exactly(seed: u64) {
        let line = Line::new(seed);
        let message = line.message();
        prop_assert_eq!(packet::read(&message, packet::Printer::Kernel), Ok(Some(line.packet())), "{:?}", line);
        prop_assert_eq!(packet::read_behind(&message, line.prefix.as_bytes(), packet::Printer::Kernel), Ok(Some(line.packet())));
    }

    #[test]
    fn no_framing_changes_the_message(seed: u64, framing in prop::sample::select(FRAMINGS)) {
        let message = Line::new(seed).message();
        let framed = [framing.as_bytes(), &message].concat();
        let record = line::read(&framed);
        prop_assert_eq!(record.message.escape_ascii().to_string(), message.escape_ascii().to_string());
        prop_assert_eq!(record.tagged, record.message);
        prop_assert_ne!(record.writer, Writer::Program);
    }

    #[test]
    fn a_damaged_token_is_rejected_or_changes_nothing(seed: u64, damage: u64) {
        let line = Line::new(seed);
        let damaged = damage_one_token(&line.body, &mut Dice::new(damage));
        let message = format!("{}{damaged}", line.prefix);
        for read in [packet::read(message.as_bytes(), packet::Printer::Kernel), packet::read_behind(message.as_bytes(), line.prefix.as_bytes(), packet::Printer::Kernel)] {
            if let Ok(Some(packet)) = read {
                prop_assert!(!is_misread(&packet, &line), "{packet}\n{message}");
            }
        }
    }

    #[test]
    fn a_cut_line_never_yields_another_address_or_port(seed: u64) {
        let line = Line::new(seed);
        let message = line.message();
        for end in 0..message.len() {
            let cut = &message[..end];
            for read in [packet::read(cut, packet::Printer::Kernel), packet::read_behind(cut, line.prefix.as_bytes(), packet::Printer::Kernel)] {
                if let Ok(Some(packet)) = read {
                    prop_assert!(!is_misread(&packet, &line), "{packet}\n{}", cut.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn no_other_prefix_is_ever_believed(seed: u64, prefix in "[ -~]{0,12}") {
        let line = Line::new(seed);
        let message = line.message();
        if let Ok(Some(_)) = packet::read_behind(&message, prefix.as_bytes(), packet::Printer::Kernel) {
            prop_assert_eq!(prefix, line.prefix);
        }
    }

    #[test]
    fn what_is_shown_is_what_is_read(seed: u64) {
        let line = Line::new(seed);
        let framed = [b"Nov 20 21:00:00 fw kernel: [ 1234.000000] ", line.message().as_slice()].concat();
        let reading = dialect::read(&framed);
        prop_assert_eq!(reading.verdict(), Verdict::Packet(line.packet()));
    }
}

/// Takes a token away, doubles it, puts a foreign byte into it, or swaps it with the next.
fn damage_one_token(body: &str, dice: &mut Dice) -> String {
    let mut tokens: Vec<String> = body.split(' ').map(str::to_owned).collect();
    let place = dice.below(tokens.len());
    match dice.below(4) {
        0 => drop(tokens.remove(place)),
        1 => tokens.insert(place, tokens[place].clone()),
        2 => {
            let inside = dice.below(tokens[place].len() + 1);
            tokens[place].insert(inside, dice.pick(&['!', '-', '\t', '[', ']', '=', '#']));
        }
        _ => {
            let next = (place + 1) % tokens.len();
            tokens.swap(place, next);
        }
    }
    tokens.join(" ")
}
