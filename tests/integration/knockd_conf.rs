//! knockd.conf as it is: what becomes of `fixtures/knockd`, and whether the real knockd agrees.
//!
//! `BLESS=1` writes the expected conversions and diagnostics anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use logknock::config::{self, Config, convert, parse};
use logknock::engine::door::Rule;
use tempfile::TempDir;

use super::need;
use super::random::Random;

/// The knockd.conf files below `fixtures`, in order.
fn files(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(directory);
    let entries = directory.read_dir().unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", directory.display());
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Compares `said` with the file beside `path` that ends in `end`; without a file it must be empty.
fn expect(path: &Path, end: &str, said: &str) {
    let expected = path.with_extension(end);
    if std::env::var_os("BLESS").is_some() && (expected.exists() || !said.is_empty()) {
        fs::write(&expected, said).unwrap();
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(said, expected, "{}", path.display());
}

fn lines(diagnostics: &[config::Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(|found| found.to_string() + "\n")
        .collect()
}

/// A knockd.conf is known by what it says, too.
fn read_as_it_is(text: &str) -> Config {
    parse("doors", text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn every_knockd_conf_becomes_the_toml_beside_it() {
    for path in files("knockd") {
        let (toml, warnings) = convert(name(&path), &fs::read(&path).unwrap(), None)
            .unwrap_or_else(|errors| panic!("{errors}"));
        expect(&path, "toml", &toml);
        expect(&path, "stderr", &lines(&warnings));
    }
}

#[test]
fn as_it_is_and_converted_it_means_the_same() {
    for path in files("knockd") {
        let text = fs::read_to_string(&path).unwrap();
        let as_it_is = read_as_it_is(&text);
        let (toml, warnings) = convert("knockd.conf", text.as_bytes(), None).unwrap();
        let converted = parse("x.toml", &toml).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(as_it_is.doors, converted.doors, "{}", path.display());
        assert_eq!(as_it_is.log, converted.log, "{}", path.display());
        assert_eq!(as_it_is.daemon, converted.daemon, "{}", path.display());
        assert_eq!(
            as_it_is.warnings.len(),
            warnings.len(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_knockd_refuses_is_refused_with_every_place() {
    for path in files("knockd/bad") {
        let text = fs::read(&path).unwrap();
        let Err(errors) = convert(name(&path), &text, None) else {
            panic!("{} was accepted", path.display());
        };
        expect(&path, "stderr", &format!("{errors}\n"));
    }
}

#[test]
fn no_diagnostic_holds_a_port_of_a_sequence() {
    for path in files("knockd").into_iter().chain(files("knockd/bad")) {
        let said = match convert(name(&path), &fs::read(&path).unwrap(), None) {
            Ok((_, warnings)) => lines(&warnings),
            Err(errors) => errors.to_string(),
        };
        for secret in ["7001", "8002", "9003", "my secret"] {
            assert!(!said.contains(secret), "{}", path.display());
        }
    }
}

#[test]
fn the_usual_files_are_taken_without_a_warning() {
    for usual in [
        "debian-stock",
        "centos-guide",
        "ubuntu-guide",
        "windows-editor",
        "timed",
    ] {
        let path = format!(
            "{}/fixtures/knockd/{usual}.conf",
            env!("CARGO_MANIFEST_DIR")
        );
        let config = read_as_it_is(&fs::read_to_string(path).unwrap());
        assert_eq!(lines(&config.warnings), "", "{usual}");
    }
}

#[test]
fn a_prefix_is_written_into_what_is_converted() {
    let text = b"[A]\nsequence = 7001,8002\ncommand = /bin/x\ntcpflags = syn\n";
    let prefix = "lk-4f9a1c7e: ".parse().unwrap();
    let (toml, _) = convert("knockd.conf", text, Some(&prefix)).unwrap();
    assert_eq!(parse("x.toml", &toml).unwrap().log.prefix, Some(prefix));
}

#[test]
fn what_toml_cannot_say_is_not_converted() {
    let text = b"[A]\nsequence = 7001,8002\ncommand = date +%FT%T %PORT%\ntcpflags = syn\n";
    let as_it_is = lines(&read_as_it_is(str::from_utf8(text).unwrap()).warnings);
    assert!(as_it_is.contains("knockd replaces %IP% only"), "{as_it_is}");
    let errors = convert("knockd.conf", text, None).unwrap_err().to_string();
    assert!(
        errors.contains("error: a word between percent signs"),
        "{errors}"
    );
    assert!(errors.contains(" --> knockd.conf:3:11\n"), "{errors}");
    let errors = convert("x.conf", b"[door.a]\nsequence = [7001]\n", None).unwrap_err();
    assert!(errors.to_string().contains("TOML already"), "{errors}");
}

#[test]
fn one_time_sequences_are_taken_with_the_next_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    fs::write(&list, "#000,8000\n\n 7001,8002:udp\n 7003,8004\n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&list, owner_only).unwrap();
    let text = format!(
        "[A]\nsequence = 1,2\none_time_sequences = {}\ncommand = /bin/x\ntcpflags = syn\n",
        list.display()
    );
    let as_it_is = read_as_it_is(&text);
    let (toml, warnings) = convert("knockd.conf", text.as_bytes(), None).unwrap();
    assert!(
        lines(&warnings).starts_with("warning: has no effect"),
        "{}",
        lines(&warnings)
    );
    assert!(toml.contains("\nlook_ahead = 1\n"), "{toml}");
    assert_eq!(as_it_is.doors, parse("x.toml", &toml).unwrap().doors);
    let Rule::OneTime(rule) = &as_it_is.doors[0].rule else {
        panic!("one-time sequences");
    };
    assert_eq!(rule.origin.knocks(), 2);
}

/// What is said of a knockd.conf that is refused.
fn refused(text: &str) -> String {
    let errors = convert("knockd.conf", text.as_bytes(), None).unwrap_err();
    errors.to_string()
}

#[test]
fn a_door_of_udp_alone_needs_no_flags() {
    let text = "[A]\nsequence = 7001:udp,8002:udp\ncommand = /bin/x\n";
    assert_eq!(lines(&read_as_it_is(text).warnings), "");
    let mixed = read_as_it_is(&text.replace("8002:udp", "8002"));
    assert!(lines(&mixed.warnings).contains("no tcpflags"));
}

#[test]
fn keys_of_other_knockds_name_ours() {
    let door = "[A]\nsequence = 7001,8002\ntcpflags = syn\ncommand = /bin/x\n";
    for (key, ours) in [
        ("seq_cooldown", "cooldown = \"TIME\""),
        ("ipset_timeout", "backend = \"ipset\""),
    ] {
        let said = refused(&format!("{door}{key} = 5\n"));
        assert!(said.contains(ours), "{said}");
        assert!(!said.contains("[door"), "{said}");
    }
}

#[test]
fn a_uci_file_of_openwrt_is_told_from_toml_and_knockd_conf() {
    let text = "config globals\n\toption UseSyslog '1'\n\nconfig knock 'ssh'\n\toption sequence '7001,8002'\n";
    let said = refused(text);
    let parsed = parse("knockd", text).unwrap_err().to_string();
    for said in [said, parsed] {
        assert!(said.contains("UCI file of OpenWrt"), "{said}");
        assert!(!said.contains("TOML") && !said.contains("7001"), "{said}");
    }
}

#[test]
fn a_file_without_a_door_is_mended_in_knockds_words() {
    let said = refused("[options]\nUseSyslog\n");
    assert!(said.contains("there is no door"), "{said}");
    assert!(said.contains("[NAME]") && !said.contains("[door"), "{said}");
}

#[test]
fn the_prefix_of_a_comment_is_converted_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefix");
    fs::write(&path, "lk-4f9a1c7e: \n").unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, owner_only).unwrap();
    let text = format!(
        "#logknock: prefix-file = {}\n[A]\nsequence = 7001,8002\ntcpflags = syn\ncommand = /bin/x\n",
        path.display()
    );
    let (toml, warnings) = convert("doors", text.as_bytes(), None).unwrap();
    assert_eq!(lines(&warnings), "");
    let prefix = parse("x.toml", &toml).unwrap().log.prefix;
    assert_eq!(prefix, Some("lk-4f9a1c7e: ".parse().unwrap()));
}

// ── the real knockd ──

/// What the real knockd says of a file: its sequences as it understood them, or `None` when it
/// refuses the file. It ends where it looks for an interface that is not there.
fn asked(dir: &TempDir, text: &[u8]) -> Option<Vec<String>> {
    let path = dir.path().join("knockd.conf");
    fs::write(&path, text).unwrap();
    let done = Command::new("knockd")
        .args(["-D", "-i", "no-such-if", "-c"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    let sequence = |line: &str| {
        Some(
            line.strip_prefix("config: ")?
                .split_once(": sequence: ")?
                .1
                .to_owned(),
        )
    };
    said.contains("no-such-if")
        .then(|| said.lines().filter_map(sequence).collect())
}

fn understood(config: &Config) -> Vec<String> {
    let sequence = |rule: &Rule| {
        let Rule::Sequence(rule) = rule else {
            panic!("a sequence");
        };
        let steps = rule.sequence.steps().iter();
        let steps: Vec<_> = steps
            .map(|step| format!("{}:{}", step.port, step.transport.as_str()))
            .collect();
        steps.join(",")
    };
    config
        .doors
        .iter()
        .map(|door| sequence(&door.rule))
        .collect()
}

#[test]
fn the_real_knockd_takes_what_is_taken_and_reads_the_same_ports() {
    if !need::program("knockd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for path in files("knockd") {
        if name(&path) == "traps.conf" {
            continue; // has doors that are left out, and a key twice
        }
        let text = fs::read(&path).unwrap();
        let config = parse("knockd.conf", &String::from_utf8(text.clone()).unwrap()).unwrap();
        assert_eq!(
            asked(&dir, &text),
            Some(understood(&config)),
            "{}",
            path.display()
        );
    }
}

/// Lines of which files are made at random: each is right in some place, or nearly.
const LINES: [&str; 56] = [
    "[options]",
    "[Options]",
    "[ options ]",
    "[A]",
    "[A",
    "[]",
    "[A]]",
    "[a b] ",
    "# c",
    "  # c",
    "; c",
    "",
    "UseSyslog",
    "usesyslog = yes",
    "usesyslog=",
    "logfile = /x",
    "LogFile /x",
    "PidFile=/x",
    "interface = eth0",
    "sequence = 7000",
    "sequence=7000,8000",
    "SEQUENCE = 7000 , 8000:UDP",
    "sequence = 1:tcp:x,2",
    "sequence = 7000:",
    "sequence = 65535, 65536",
    "sequence = -1,2",
    "sequence = 9,+10",
    "sequence = 7000-7005,3",
    "sequence = 08,4 # x",
    "sequence = 4294974296,1",
    "sequence: 1,2",
    "sequence = 1:icmp",
    "sequence = 1;2",
    "sequence 1 2",
    "sequence = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32",
    "sequence = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33",
    "tcpflags = syn",
    "TCPFLAGS=Syn,!Ack",
    "tcpflags = syn, ack",
    "tcpflags = fin,,psh",
    "tcpflags =",
    "tcpflags = urg,!urg",
    "tcpflags = ece",
    "seq_timeout = 5",
    "Timeout=5s",
    "timeout",
    "cmd_timeout = 10",
    "cmd timeout = 10",
    "command = /bin/x %IP%",
    "start_command = a=b",
    "COMMAND_6 =",
    "stop_command = /bin/y",
    "stop_command_6=/bin/y # z",
    "target = 192.0.2.1",
    "one_time_sequence = /x",
    "[options] # x",
];

#[test]
fn the_real_knockd_refuses_what_is_refused() {
    if !need::program("knockd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let long = std::env::var_os("LOGKNOCK_LONG").is_some_and(|value| value == "1");
    let mut random = Random(20_261_121);
    let mut counts = [0, 0];
    for _ in 0..if long { 4000 } else { 250 } {
        let mut text = String::new();
        // Mostly a door that is right, with a line too many.
        if random.below(2) == 0 {
            text += "[first]\nsequence = 11,12\ncommand = /bin/x\n";
        }
        for _ in 0..=random.below(3) {
            text += LINES[random.below(LINES.len())];
            text += "\n";
        }
        let theirs = asked(&dir, text.as_bytes());
        let ours = parse("knockd.conf", &text);
        let no_door = |errors: &config::Errors| {
            let mut messages = errors.diagnostics.iter().map(|found| &found.message);
            messages.any(|message| message == "there is no door")
        };
        match (&theirs, &ours) {
            (Some(sequences), Ok(config)) => {
                let understood = understood(config);
                assert!(
                    understood
                        .iter()
                        .all(|sequence| sequences.contains(sequence)),
                    "{text}\nknockd: {sequences:?}\nlogknock: {understood:?}"
                );
                counts[0] += 1;
            }
            (None, Err(_)) => counts[1] += 1,
            // knockd starts without a door and does nothing.
            (Some(_), Err(errors)) if no_door(errors) => {}
            _ => panic!("{text}\nknockd: {theirs:?}\nlogknock: {ours:?}"),
        }
    }
    assert!(counts.iter().all(|&count| count > 40), "{counts:?}");
}
