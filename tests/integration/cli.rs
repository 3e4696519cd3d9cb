//! The command line as its users meet it: what is printed where, and how it ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::logknock::{Logknock, files};
use super::need;

const DOOR: &str = "[door.ssh]\nsequence = [7000, 8000]\nstart_command = \"/bin/true\"\nstop_command = \"/bin/true\"\n";

/// A packet, a line about something else, and a packet in another program's line.
const LINES: &str = "\
2026-11-20T21:00:00.25+01:00 gw1 kernel: [  100.250000] lk-4f9a1c7e: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 DF PROTO=TCP SPT=40504 DPT=7000 WINDOW=64240 RES=0x00 SYN URGP=0 \n\
2026-11-20T21:00:01+01:00 gw1 sshd[811]: Accepted publickey for admin\n\
2026-11-20T21:00:02+01:00 gw1 sshd[811]: Invalid user kernel: lk-4f9a1c7e: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=2 DF PROTO=TCP SPT=40504 DPT=8000 WINDOW=64240 RES=0x00 SYN URGP=0 \n";

/// The packet that completes the sequence, as the last line of a log that was cut behind it.
const LAST: &str = "2026-11-20T21:00:03+01:00 gw1 kernel: [  103.000000] lk-4f9a1c7e: IN=eth0 OUT= MAC= SRC=203.0.113.7 DST=192.0.2.1 LEN=29 TOS=0x00 PREC=0x00 TTL=52 ID=3 PROTO=UDP SPT=40505 DPT=8000 LEN=9 ";

fn log() -> Logknock {
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
             kern.log:3       rejected  program: a packet in the line of another program\n\
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
    log()
        .file("kern.log", format!("{LINES}{LAST}\n{LINES}{wrong}\n"))
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

// ── check ──

#[test]
fn check_shows_the_doors_without_their_secrets() {
    let checked = log().run("check").succeeds();
    let checked = checked.prints_among_others("logknock.toml: configuration ok\n");
    let checked = checked.prints_among_others("ssh");
    assert!(!checked.stdout.contains("7000") && !checked.stdout.contains("8000"));
}

#[test]
fn check_says_all_that_is_wrong_at_once_and_where() {
    let config = "[door.ssh]\nsequence = [70000]\nseq_timeout = \"x\"\nno_such_key = 1\nstart_command = \"/bin/true\"\n";
    let ended = Logknock::new()
        .config(config)
        .run("check")
        .fails_with(78)
        .prints_nothing();
    let ended = ended
        .says("logknock: logknock.toml:2:13: ")
        .says("logknock.toml:3:15: ");
    let ended = ended.says("logknock.toml:4:1: ");
    assert_eq!(
        ended.stderr.matches("logknock: ").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn check_as_json_has_an_object_for_each_mistake_and_says_nothing_else() {
    let config = "[door.ssh]\nsequence = [70000]\nno_such_key = 1\n";
    let ended = Logknock::new().config(config).run("check --json");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(78), ""));
    let severities = ended.stdout.lines().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap();
        object["severity"].as_str().unwrap().to_owned()
    });
    assert!(severities.filter(|severity| severity == "error").count() >= 2);
}

// ── how it ends ──

#[test]
fn a_file_that_is_not_there_is_69() {
    for arguments in ["parse none", "replay none", "replay --expect none kern.log"] {
        let ended = log().run(arguments).fails_with(69).prints_nothing();
        ended.says("logknock: none: there is no such file\n");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_69_and_named() {
    for arguments in ["parse /proc/self", "replay /proc/self"] {
        log()
            .run(arguments)
            .fails_with(69)
            .says("logknock: /proc/self: ");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_77() {
    if !need::program("setpriv") {
        return;
    }
    let logknock = log().file("secret.log", LINES).run_by_nobody();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o0);
    std::fs::set_permissions(logknock.path("secret.log"), mode).unwrap();
    logknock
        .run("parse secret.log")
        .fails_with(77)
        .says("logknock: secret.log: may not be read");
}

#[test]
fn a_config_that_others_may_write_is_77() {
    let logknock = log();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(logknock.path("logknock.toml"), mode).unwrap();
    for arguments in ["check", "replay kern.log"] {
        logknock.run(arguments).fails_with(77).prints_nothing();
    }
}

#[test]
fn a_bad_config_is_78_whatever_was_asked() {
    let logknock = log().config("[door.ssh]\nsequence = []\n");
    for arguments in ["check", "replay kern.log", "--follow kern.log"] {
        logknock.run(arguments).fails_with(78).prints_nothing();
    }
    logknock
        .run("check --config none.toml")
        .fails_with(78)
        .says("none.toml: there is no such file");
}

#[test]
fn options_that_every_command_takes_may_stand_before_it() {
    log().run("--config logknock.toml --json check").succeeds();
}

#[test]
fn an_option_of_the_daemon_means_nothing_before_a_command() {
    for arguments in [
        "--follow kern.log check",
        "--dry-run replay kern.log",
        "-v parse kern.log",
    ] {
        let ended = log().run(arguments).fails_with(2).prints_nothing();
        ended.says("is for the daemon");
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [
        "bogus",
        "parse --bogus",
        "replay",
        "--follow",
        "--prefix",
        "--follow udp:x",
    ] {
        let ended = log().run(arguments).fails_with(2).prints_nothing();
        ended.says("--help");
    }
}

#[test]
fn a_reader_who_goes_is_no_failure() {
    let big = LINES.repeat(20_000);
    let logknock = log().file("big.log", big);
    for arguments in [
        "parse big.log",
        "parse --json big.log",
        "replay big.log",
        "--help",
    ] {
        let ended = logknock.run_for_one_line(arguments).succeeds();
        assert!(
            !ended.stdout.is_empty() && !ended.stderr.contains("panicked"),
            "{ended:?}"
        );
        assert!(!ended.stderr.contains("logknock: "), "{ended:?}");
    }
}

// ── help, colours ──

#[test]
fn every_command_has_help_with_examples() {
    let definitions = logknock::cli::definitions();
    let commands = definitions.get_subcommands().map(clap::Command::get_name);
    for command in commands.chain([""]) {
        let help = Logknock::new()
            .run(&format!("{command} --help"))
            .succeeds()
            .says_nothing();
        let example = format!("Examples:\n  logknock {command}");
        help.prints_among_others(example.trim_end());
    }
    let version = Logknock::new().run("--version").succeeds();
    version.prints(&format!("logknock {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_names_every_exit_status() {
    let help = Logknock::new().run("--help").succeeds();
    let (_, statuses) = help.stdout.split_once("Exit status:\n").unwrap();
    let codes = statuses.lines().map(|line| line.split_whitespace().next());
    let codes: Vec<_> = codes.map(Option::unwrap_or_default).collect();
    assert_eq!(codes, ["0", "1", "2", "69", "70", "75", "77", "78"]);
}

#[test]
fn a_pipe_gets_no_colours() {
    for arguments in [
        "parse kern.log",
        "replay kern.log",
        "check",
        "bogus",
        "--help",
    ] {
        let ended = log().run(arguments);
        assert!(
            !ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'),
            "{ended:?}"
        );
    }
}

#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    if !need::program("script") {
        return;
    }
    for arguments in ["parse kern.log", "replay kern.log"] {
        let coloured = log().run_on_terminal(arguments);
        assert!(coloured.stdout.contains("\x1b["), "{coloured:?}");
        let plain = log().set("NO_COLOR", "1").run_on_terminal(arguments);
        assert!(!plain.stdout.contains("\x1b["), "{plain:?}");
        assert!(plain.stdout.contains("203.0.113.7"), "{plain:?}");
    }
}

// ── demo ──

#[test]
fn the_demonstration_opens_and_closes_a_door_for_anybody_and_leaves_nothing_behind() {
    if !need::program("setpriv") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path(), mode).unwrap();
    let logknock = Logknock::new().run_by_nobody();
    let logknock = logknock.set("TMPDIR", place.path().display().to_string());
    let started = Instant::now();
    let ended = logknock.run("demo").succeeds();
    assert!(started.elapsed() < Duration::from_secs(15));
    let ended = ended
        .prints_among_others("203.0.113.7    open")
        .prints_among_others("203.0.113.7    close");
    assert!(
        !ended.stdout.contains("198.51.100.66  open"),
        "{}",
        ended.stdout
    );
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_demonstration_that_is_interrupted_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let logknock = Logknock::new().set("TMPDIR", place.path().display().to_string());
    let mut demo = logknock.start("demo");
    demo.says("You knock");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    demo.signal(Signal::INT);
    assert_eq!(demo.ends(), 1);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_published_example_is_never_run_by_mistake() {
    // Its secrets are published, so it says so itself; but it must be a config.
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/examples");
    for example in files(examples.as_ref(), "toml") {
        let text = std::fs::read_to_string(&example).unwrap();
        assert!(
            text.contains("DO NOT USE IT AS IT IS"),
            "{}",
            example.display()
        );
        Logknock::new().config(&text).run("check").succeeds();
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
