//! `parse` and `replay` as their users meet them: to the letter, from files, pipes and packed logs.

use super::logknock::Logknock;

const DOOR: &str = "[log]\nprefix = \"lk-4f9a1c7e: \"\n[door.ssh]\nsequence = [7000, 8000]\nstart_command = \"/bin/true\"\nstop_command = \"/bin/true\"\n";

/// A packet, a line about something else, and a packet in another program's line.
pub(crate) const LINES: &str = "\
2026-11-20T21:00:00.25+01:00 gw1 kernel: [  100.250000] lk-4f9a1c7e: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 DF PROTO=TCP SPT=40504 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0 \n\
2026-11-20T21:00:01+01:00 gw1 sshd[811]: Accepted publickey for admin\n\
2026-11-20T21:00:02+01:00 gw1 sshd[811]: Invalid user kernel: lk-4f9a1c7e: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=2 DF PROTO=TCP SPT=40504 DPT=8000 WINDOW=64240 RES=0x00 SYN URGP=0 \n";

/// The packet that completes the sequence, as the last line of a log that was cut behind it.
const LAST: &str = "2026-11-20T21:00:03+01:00 gw1 kernel: [  103.000000] lk-4f9a1c7e: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=29 TOS=0x00 PREC=0x00 TTL=52 ID=3 PROTO=UDP SPT=40505 DPT=8000 LEN=9 ";

/// A log of all these lines, and a door that they open.
pub(crate) fn log() -> Logknock {
    Logknock::new()
        .config(&DOOR.replace("8000", "\"8000:udp\""))
        .file("kern.log", format!("{LINES}{LAST}"))
}

// ── parse ──

#[test]
fn parse_prints_one_line_for_each_and_counts_them_elsewhere() {
    log()
        .run("parse kern.log")
        .succeeds()
        .prints(
            "kern.log:1       packet    prefix=\"lk-4f9a1c7e: \" in=eth0 out= 203.0.113.7:40504 -> 192.0.2.1:7000 tcp syn\n\
             kern.log:2       other\n\
             kern.log:3       rejected  program: another program wrote the line\n\
             kern.log:4       packet    prefix=\"lk-4f9a1c7e: \" in=eth0 out= 203.0.113.7:40505 -> 192.0.2.1:8000 udp\n",
        )
        .says("2 packets, 1 rejected (program 1), 1 other\n");
}

#[test]
fn parse_as_json_has_these_keys_in_this_order_and_says_nothing_else() {
    log().run("parse --json kern.log").succeeds().says_nothing().prints(
        "{\"file\":\"kern.log\",\"line\":1,\"verdict\":\"packet\",\"origin\":\"claimed\",\"host\":\"gw1\",\"time\":\"2026-11-20T20:00:00.25Z\",\"prefix\":\"lk-4f9a1c7e: \",\"in\":\"eth0\",\"out\":\"\",\"src\":\"203.0.113.7\",\"dst\":\"192.0.2.1\",\"proto\":\"tcp\",\"spt\":40504,\"dpt\":7000,\"flags\":[\"syn\"]}\n\
         {\"file\":\"kern.log\",\"line\":2,\"verdict\":\"other\",\"origin\":\"claimed\",\"host\":\"gw1\",\"time\":\"2026-11-20T20:00:01Z\"}\n\
         {\"file\":\"kern.log\",\"line\":3,\"verdict\":\"rejected\",\"reason\":\"program\",\"origin\":\"claimed\",\"host\":\"gw1\",\"time\":\"2026-11-20T20:00:02Z\"}\n\
         {\"file\":\"kern.log\",\"line\":4,\"verdict\":\"packet\",\"origin\":\"claimed\",\"host\":\"gw1\",\"time\":\"2026-11-20T20:00:03Z\",\"prefix\":\"lk-4f9a1c7e: \",\"in\":\"eth0\",\"out\":\"\",\"src\":\"203.0.113.7\",\"dst\":\"192.0.2.1\",\"proto\":\"udp\",\"spt\":40505,\"dpt\":8000}\n",
    );
}

#[test]
fn parse_reads_standard_input_with_or_without_being_told() {
    let file = log()
        .run("parse kern.log")
        .stdout
        .replace("kern.log:", "-:");
    for arguments in ["parse", "parse -"] {
        let stdin = log().run_on(arguments, format!("{LINES}{LAST}").as_bytes());
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&stdin.succeeds().stdout), words(&file));
    }
}

#[test]
fn what_strangers_put_into_a_line_is_printed_as_one_line_of_json() {
    let line = b"Nov 20 21:00:00 gw1\x1b[31m kernel: \x1b]0;x\x07\"\xff IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 DF PROTO=TCP SPT=4 DPT=7000 WINDOW=1 RES=0x00 SYN URGP=0 ";
    for arguments in ["parse", "parse --json"] {
        let printed = Logknock::new().run_on(arguments, line).succeeds().stdout;
        assert_eq!(printed.lines().count(), 1, "{printed:?}");
        assert!(
            !printed.contains('\x1b') && !printed.contains('\x07'),
            "{printed:?}"
        );
    }
}

// ── replay ──

#[test]
fn replay_prints_events_and_counts_lines_elsewhere() {
    log()
        .run("replay kern.log")
        .succeeds()
        .prints(
            "2026-11-20T20:00:00.25Z      ssh  stage 1/2                  203.0.113.7      kern.log:1\n\
             2026-11-20T20:00:03Z         ssh  stage 2/2                  203.0.113.7      kern.log:4\n\
             2026-11-20T20:00:03Z         ssh  open                       203.0.113.7      kern.log:4\n\
             2026-11-20T20:00:13Z         ssh  close                      203.0.113.7\n",
        )
        .says("4 lines: 2 hits, 1 rejected (program 1); 1 opened\n");
}

#[test]
fn replay_as_json_has_these_keys_in_this_order_and_says_nothing_else() {
    let wrong = LAST.replace("DPT=8000", "DPT=8001");
    let again = LINES.replace("SPT=40504", "SPT=40506");
    log()
        .file("kern.log", format!("{LINES}{LAST}\n{again}{wrong}\n"))
        .run("replay --json kern.log")
        .succeeds()
        .says_nothing()
        .prints_among_others("{\"time\":\"2026-11-20T20:00:00.25Z\",\"event\":\"stage\",\"door\":\"ssh\",\"src\":\"203.0.113.7\",\"stage\":1,\"of\":2,\"file\":\"kern.log\",\"line\":1}\n")
        .prints_among_others("{\"time\":\"2026-11-20T20:00:03Z\",\"event\":\"open\",\"door\":\"ssh\",\"src\":\"203.0.113.7\",\"file\":\"kern.log\",\"line\":4}\n")
        .prints_among_others(",\"event\":\"reset\",\"door\":\"ssh\",\"src\":\"203.0.113.7\",\"stage\":1,\"of\":2,\"reason\":\"wrong_port\",\"file\":\"kern.log\",\"line\":8}\n")
        .prints_among_others(",\"event\":\"close\",\"door\":\"ssh\",\"src\":\"203.0.113.7\"}\n");
}

#[test]
fn replay_reads_standard_input_to_the_last_byte() {
    let printed = log().run_on("replay -", format!("{LINES}{LAST}").as_bytes());
    printed
        .succeeds()
        .prints_among_others("  open  ")
        .says("4 lines");
}

#[test]
fn a_prefix_on_the_command_line_stands_in_place_of_the_configured_one() {
    let other = log().run("replay --prefix other kern.log").succeeds();
    other
        .prints_nothing()
        .says("0 hits, 3 rejected (program 1, prefix 2)");
}

#[test]
fn a_header_of_a_form_that_is_not_read_is_said_with_the_column_of_the_prefix() {
    let lines = LAST.replace("2026-11-20T21:00:03+01:00 gw1", "20.11.2026 21:00:03");
    let lines = lines.replace("lk-4f9a1c7e: ", "lk-4f9a1c7e:_");
    log()
        .file("other.log", format!("{LINES}{lines}\n{lines}\n"))
        .run("replay --prefix lk-4f9a1c7e:_ other.log")
        .succeeds()
        .says("other.log:4: the log prefix stands at column 44: the form of its header is unknown; see format")
        .says("header 2");
}

#[test]
fn a_log_of_records_of_several_lines_is_told_with_the_command_that_writes_one_line_each() {
    let packet = LAST.split_once("[  103.000000] ").unwrap().1;
    for line in [
        format!("    MESSAGE={packet}"),
        format!("\t\"MESSAGE\" : \"{packet}\","),
        format!("         \"msg\": \"{packet}\""),
    ] {
        for format in ["kernel", "json", "journal-json"] {
            let config = DOOR.replace("[door.ssh]", &format!("format = \"{format}\"\n[door.ssh]"));
            let log = log()
                .config(&config)
                .file("other.log", format!("{{\n{line}\n}}\n"));
            log.run("replay other.log")
                .succeeds()
                .says("other.log:2: the log prefix stands at column ")
                .says("write the log with journalctl -k -o short-iso, or with dmesg without -J")
                .says("multiline 1");
            log.run("parse other.log")
                .succeeds()
                .prints_among_others("rejected  multiline: its record has several lines");
        }
    }
}

#[test]
fn a_packed_log_is_read_as_the_text_in_it_and_a_cut_one_says_so() {
    use flate2::write::GzEncoder;
    use std::io::Write as _;
    let lab = Logknock::new().door("");
    lab.knock("203.0.113.7");
    let text = lab.read("kern.log");
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let cut = packed.get(..packed.len() - 9).unwrap();
    let lab = lab.file("kern.log.2.gz", &packed).file("cut.gz", cut);
    for command in ["replay", "parse"] {
        let plain = lab.run(&format!("{command} kern.log")).succeeds().stdout;
        let plain = plain.replace("kern.log", "kern.log.2.gz");
        let read = lab.run(&format!("{command} kern.log.2.gz")).succeeds();
        let columns = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(columns(&read.stdout), columns(&plain));
        lab.run(&format!("{command} cut.gz"))
            .fails_with(69)
            .says("cut.gz: the archive is cut short");
    }
}
