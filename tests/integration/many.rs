//! Many lines and many sources: the logs of the benchmarks, in small. `benches/run` has them whole.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::daemon::{self, Daemon};
use super::generate;
use super::logknock::Logknock;

/// The most memory that a process may have had beside its program file, in KiB.
const MAX_MEMORY: u64 = 20 * 1024;

const CONFIG: &str = r#"
[log]
prefix = "lk-4f9a1c7e: "
[door.ssh]
sequence = [7000, "8000:udp", 9000]
start_command = "true"
stop_command = "true"
"#;

/// The most memory that process `pid` has had, in KiB. Its program file does not count: without
/// optimisation the code alone takes 16 MiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    size("VmHWM:") - size("RssFile:")
}

/// Whom `replay` opens for, and the most memory that it had, while `log` comes through a pipe.
fn opens_and_peak(log: &[u8]) -> (Vec<String>, u64) {
    let lab = Logknock::new().config(CONFIG);
    let mut child = Command::new(env!("CARGO_BIN_EXE_logknock"))
        .args(["--config", "logknock.toml", "--json", "replay", "-"])
        .current_dir(lab.path(""))
        .stdin(Stdio::piped())
        .stdout(fs::File::create(lab.path("events")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // What a pipe has taken but for its last 64 KiB has been read.
    let mut input = child.stdin.take().unwrap();
    input.write_all(log).unwrap();
    let peak = peak(child.id());
    drop(input);
    assert!(child.wait().unwrap().success());
    let events = lab.read("events");
    let opens = events
        .lines()
        .filter(|event| event.contains(r#""event":"open""#));
    let who = opens.map(|event| event.split(r#""src":""#).nth(1).unwrap());
    let who = who.map(|rest| rest.split('"').next().unwrap().to_owned());
    (who.collect(), peak)
}

/// More sources than are remembered, four times; with `LOGKNOCK_LONG=1` thirty times.
fn each_honest_knock_opens(ports: &[u16]) {
    let is_long = std::env::var_os("LOGKNOCK_LONG").is_some_and(|value| value == "1");
    let lines = if is_long { 1_035_000 } else { 135_000 };
    let mut log = Vec::new();
    generate::flood(&mut log, lines, ports).unwrap();
    let (opens, peak) = opens_and_peak(&log);
    let honest = (1..=lines / 100_000 + 1).map(|who| format!("203.0.113.{who}"));
    assert_eq!(opens, honest.collect::<Vec<_>>());
    assert!(peak < MAX_MEMORY, "{peak} KiB");
}

#[test]
fn each_honest_knock_opens_among_a_flood_of_sources_at_the_first_port() {
    each_honest_knock_opens(&[7000]);
}

#[test]
fn each_honest_knock_opens_among_a_flood_of_sources_at_all_ports() {
    each_honest_knock_opens(&generate::DOOR);
}

#[test]
fn a_burst_of_lines_is_read_whole_and_each_knock_in_it_opens() {
    let mut daemon = Daemon::start("");
    let config = daemon
        .config()
        .replace("7101, 8202, 9303", "7000, \"8000:udp\", 9000");
    daemon.set_config(&config);
    daemon.says(&["reload"]);
    generate::burst(&daemon.log(), 30_000).unwrap();
    // Three times the three knocks of an honest one.
    daemon.wait_until("all is read", |status| status.hits == 30_009);
    daemon::eventually("each has opened", || daemon.commands().lines().count() == 3);
    let peak = peak(daemon.pid().unsigned_abs());
    assert!(peak < MAX_MEMORY, "{peak} KiB");
    daemon.kill();
}

#[test]
fn the_logs_of_the_benchmarks_are_what_they_say() {
    let lab = Logknock::new().config(CONFIG);
    let (mut packets, mut mixed) = (Vec::new(), Vec::new());
    generate::packets(&mut packets, 300_000).unwrap();
    generate::mixed(&mut mixed, 300_000).unwrap();
    for (log, tenth) in [(packets, 1), (mixed, 10)] {
        let lines = memchr::memchr_iter(b'\n', &log).count();
        let counted = format!("{lines} lines: {} hits, 0 rejected", lines.div_ceil(tenth));
        lab.run_on("replay -", &log).succeeds().says(&counted);
    }
}
