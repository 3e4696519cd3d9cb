//! Screens at 80 and at 200 columns, in a real terminal and piped: `fixtures/screens`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use logknock::protocol::{
    DoorStatus, FirewallStatus, GrantStatus, Happening, Phase, SourceStatus, Status,
};

use super::logknock::{Logknock, PREFIX};
use super::need;
use super::terminal::Terminal;
use super::watch::serve;

const CONFIG: &str = "[log]\nprefix = \"lk-4f9a1c7e: \"\n\n[door.ssh]\nsequence = [7101, 8202, 9303]\nseq_timeout = \"15s\"\n\
    start_command = [\"/bin/true\"]\nstop_command = [\"/bin/true\"]\n\n\
    [door.vpn]\nsequence = [7404, \"8505:udp\"]\nlockout = { fails = 3, within = \"10m\", for = \"1h\" }\n\
    start_command = [\"/bin/true\"]\nstop_command = [\"/bin/true\"]\ncmd_timeout = \"2h\"\n";
/// What the doctor examines: some of it is well, some broken.
const EXAMINED: &str = "[log]\nsources = [\"/run/kern.log\"]\nprefix = \"lk-4f9a1c7e: \"\n[firewall]\nbackend = \"nft\"\n\
    [door.ssh]\nsequence = [7101, 8202, 9303]\nseq_timeout = \"15s\"\nopens = [22]\ninterface = \"ens3\"\n";
/// A host that is the same everywhere: root of its own namespaces, with one interface, no configuration, no rules and a
/// systemd, in a session of ssh.
pub(crate) const HOST: &str = "unshare --user --map-root-user --net --mount sh -c '\
    for place in /etc /run /sys/class/net; do mount -t tmpfs -o mode=755 tmpfs $place || exit; done; \
    mkdir -p /sys/class/net/eth0 /run/systemd/system; echo 1 >/run/one; \
    mount --bind /run/one /proc/sys/kernel/dmesg_restrict; \
    echo \"$(date -u +%FT%T+00:00) gw kernel: [5031.200000] lk-4f9a1c7e: IN=eth0\" >/run/kern.log; \
    export SSH_CONNECTION=\"198.51.100.20 50123 192.0.2.1 22\"; exec \"$@\"' host";
const WRONG: &str = "[log]\nprefix = \"lk-4f9a1c7e: \"\n[door.ssh]\nsequence = [7101, 82020, 9303]\nseq_timeoutt = \"15s\"\n";

/// The screens: a name, and the words of the command.
const SCREENS: [(&str, &str); 12] = [
    ("help", "-h"),
    ("help-rules", "rules --help"),
    ("check-wrong", "check --config wrong.toml"),
    ("demo", "demo"),
    (
        "doctor",
        "doctor --config doctor.toml --control control.sock",
    ),
    ("explain", "explain 203.0.113.7 --log kern.log"),
    ("init", "init --config /etc/logknock/logknock.toml"),
    ("parse", "parse kern.log"),
    ("replay", "replay kern.log"),
    ("status", "status --control control.sock"),
    ("close-nothing", "close 203.0.113.7 --control nowhere.sock"),
    ("watch", "status --watch --control control.sock"),
];
/// Those that show no colour.
const PLAIN: [&str; 4] = ["close-nothing", "demo", "init", "parse"];
/// Those of the host itself.
const OF_HOST: [&str; 2] = ["doctor", "init"];
const WIDTHS: [u16; 2] = [80, 200];

/// What the screens are of: fixed configurations, a fixed log and a daemon that says the same always.
fn scene() -> Logknock {
    let mut serial = 0;
    let mut line = |at: &str, src: &str, port: u16| {
        serial += 1;
        format!(
            "2026-11-29T19:46:{at}+00:00 gw kernel: [50{at}00] {PREFIX}IN=eth0 OUT= \
             MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC={src} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 \
             ID={serial} DF PROTO=TCP SPT={} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 \n",
            40_000 + serial
        )
    };
    let mut log = String::new();
    for (at, src, port) in [
        ("23.1200", "203.0.113.7", 7101),
        ("24.2200", "203.0.113.7", 8202),
        ("25.0000", "198.51.100.66", 443),
        ("28.4200", "203.0.113.7", 443),
        ("31.0000", "203.0.113.7", 7101),
        ("31.5000", "203.0.113.7", 8202),
        ("32.0000", "203.0.113.7", 9303),
    ] {
        log += &line(at, src, port);
    }
    let scene = Logknock::new().config(CONFIG).file("wrong.toml", WRONG);
    let scene = scene.file("doctor.toml", EXAMINED);
    scene.file("kern.log", log)
}

fn status() -> Status {
    let event = |at: &str, event: &str, door: &str, src: &str, stage: Option<usize>| Happening {
        src: Some(src.parse().unwrap()),
        time: Some(format!("2026-11-29T19:46:{at}Z")),
        event: event.to_owned(),
        door: Some(door.to_owned()),
        stage,
        of: stage.map(|_| 3),
        reason: (event == "reset").then(|| "wrong_port".to_owned()),
        times: 1,
        ..Happening::default()
    };
    let door = |name: &str, steps, attempts| DoorStatus {
        name: name.to_owned(),
        steps,
        attempts,
    };
    let grant = |door: &str, src: &str, phase, left_seconds, failed| GrantStatus {
        door: door.to_owned(),
        src: src.parse().unwrap(),
        phase,
        left_seconds,
        failed,
        words: String::new(),
        origin: None,
    };
    let source = |source: &str, trust: &str, trouble: Option<&str>, lost_lines| SourceStatus {
        source: source.to_owned(),
        trust: trust.to_owned(),
        health: if trouble.is_some() {
            "degraded"
        } else {
            "following"
        }
        .to_owned(),
        trouble: trouble.map(str::to_owned),
        lines: 1_204,
        overflows: 0,
        last_line_seconds: Some(3),
        lag_ms: Some(1),
        gaps: u64::from(lost_lines > 0),
        lost_lines,
        doors: None,
    };
    let counts = |counts: &[(&str, u64)]| -> BTreeMap<String, u64> {
        let counts = counts.iter();
        counts
            .map(|(word, count)| ((*word).to_owned(), *count))
            .collect()
    };
    Status {
        version: "1.2.3".to_owned(),
        uptime_seconds: 93_784,
        doors: vec![door("ssh", 3, 1), door("vpn", 2, 0)],
        sources: vec![
            source(
                "/var/log/kern.log",
                "claimed",
                Some("it is not there; waiting for it"),
                0,
            ),
            source("journald", "kernel", None, 212),
        ],
        grants: vec![
            grant("ssh", "203.0.113.7", Phase::Open, 25, 0),
            grant("vpn", "2001:db8::7", Phase::Open, 7_100, 0),
            grant("ssh", "198.51.100.9", Phase::Owed, 8, 2),
        ],
        grants_open: 2,
        grants_closing: 1,
        hits: 41,
        rejected: counts(&[("duplicate", 7), ("prefix", 25)]),
        events: counts(&[("open", 4)]),
        resets: counts(&[("wrong_port", 1)]),
        firewall: Some(FirewallStatus {
            looked_seconds: 12,
            ..FirewallStatus::default()
        }),
        failed_commands: counts(&[("close", 2)]),
        recent: vec![
            event("23.120", "stage", "ssh", "198.51.100.66", Some(1)),
            event("23.620", "reset", "ssh", "198.51.100.66", Some(1)),
            event("31.500", "open", "ssh", "203.0.113.7", None),
        ],
        ..Status::default()
    }
}

#[test]
fn each_screen_is_as_its_snapshot_shows_it_narrow_and_wide_and_piped() {
    if !need::program("tmux") {
        return;
    }
    let scene = scene();
    serve(&scene.path(""), status());
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/screens");
    let mut wrong = Vec::new();
    for (name, words) in screens() {
        for width in WIDTHS {
            let file = directory.join(format!("{name}-{width}.txt"));
            let terminal = show(&scene, &on_host(name, &format!("logknock {words}")), width);
            let seen = terminal.seen();
            let plain = terminal.seen_in_colour();
            if !PLAIN.contains(&name) {
                let bare = anstream::adapter::strip_str(&plain).to_string();
                assert_ne!(plain, bare, "{name}: no colour on a terminal");
            }
            let seen = always_the_same(&screen(&seen));
            if env::var_os("BLESS").is_some() {
                fs::write(&file, &seen).unwrap();
            }
            if fs::read_to_string(&file).unwrap_or_default() != seen {
                wrong.push(format!("{}:\n{seen}", file.display()));
            }
        }
        if name != "watch" {
            let line = on_host(
                name,
                &format!("{} {words} 2>&1", env!("CARGO_BIN_EXE_logknock")),
            );
            let mut piped = Command::new("sh");
            let piped = piped.args(["-c", &line]).current_dir(scene.path(""));
            let piped = piped
                .env("LOGKNOCK_CONFIG", "logknock.toml")
                .output()
                .unwrap();
            let said = String::from_utf8(piped.stdout).unwrap();
            assert!(!said.contains('\x1b'), "{name}: colour in a pipe: {said}");
            // clap's own help has blanks at the end of lines.
            let is_clean = |line: &str| name.starts_with("help") || line == line.trim_end();
            assert!(said.lines().all(is_clean), "{name}: {said}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn with_no_color_set_no_screen_has_colours() {
    if !need::program("tmux") {
        return;
    }
    let scene = scene();
    serve(&scene.path(""), status());
    for (name, words) in screens() {
        let line = on_host(name, &format!("logknock {words}"));
        let seen = show(&scene, &format!("export NO_COLOR=1; {line}"), 80).seen_in_colour();
        assert!(!seen.contains('\x1b'), "{name}: {seen}");
    }
}

/// Whether there can be such a [`HOST`]; says what is skipped if not.
pub(crate) fn has_host() -> bool {
    let mut host = Command::new("sh");
    let host = host
        .args(["-c", &format!("{HOST} nft list ruleset")])
        .output();
    let is_possible = host.is_ok_and(|host| host.status.success());
    need::met(is_possible, "user namespaces and nft")
}

/// All that can be shown here.
fn screens() -> impl Iterator<Item = (&'static str, &'static str)> {
    let has_host = has_host();
    let can_be = move |(name, _): &(&str, &str)| has_host || !OF_HOST.contains(name);
    SCREENS.into_iter().filter(can_be)
}

/// A line of shell that runs `command` where the screen is of.
fn on_host(name: &str, command: &str) -> String {
    let host = if OF_HOST.contains(&name) { HOST } else { "" };
    format!("{host} {command}")
}

/// A terminal that shows a line of shell to its end.
fn show(scene: &Logknock, line: &str, width: u16) -> Terminal {
    let script =
        format!("export LOGKNOCK_CONFIG=logknock.toml TMPDIR=/tmp; {line}; echo ended; sleep 600");
    let rows = if line.contains("--watch") { 24 } else { 100 };
    let terminal = Terminal::open(width, rows, &scene.path(""), &script);
    terminal.awaits(if line.contains("--watch") {
        "q quit"
    } else {
        "ended"
    });
    terminal
}

/// What is on a screen, without the sign of its end.
fn screen(seen: &str) -> String {
    let text = seen.trim_end();
    format!("{}\n", text.strip_suffix("\nended").unwrap_or(text))
}

/// Without what differs each time: the directory of a demonstration, and how long it took.
fn always_the_same(screen: &str) -> String {
    const DIRECTORY: &str = "/logknock-demo-";
    let (Some((before, rest)), Some((_, after))) =
        (screen.split_once(DIRECTORY), screen.rsplit_once(" s.\n"))
    else {
        return screen.to_owned();
    };
    let (_, rest) = rest.split_once('/').expect("a file in it");
    let rest = rest
        .strip_suffix(&format!(" s.\n{after}"))
        .expect("it ends so");
    let rest = rest.trim_end_matches(|sign: char| sign.is_ascii_digit() || sign == '.');
    format!("{before}{DIRECTORY}NAME/{rest}N.N s.\n{after}")
}
