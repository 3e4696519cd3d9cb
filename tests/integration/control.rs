//! The running daemon and the commands that ask it: one real daemon a test, which follows a file.

use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use logknock::protocol::{self, PhaseWord, Reply, Request, Status, Whose};
use serde_json::Value;

use super::daemon::{Daemon, HOLD, PATIENCE, eventually};
use super::need;

const KNOCKER: &str = "203.0.113.7";

fn knocker() -> IpAddr {
    KNOCKER.parse().unwrap()
}

/// What must never be told.
const SECRETS: [&str; 4] = ["7101", "8202", "9303", "4f9a1c7e"];

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn a_status_has_its_keys_and_no_secret() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.knock("198.51.100.9", &[7101]);
    daemon.wait_until("both have been read", |status| {
        status.grants_open == 1 && status.hits == 4
    });
    let json: Value = serde_json::from_str(&daemon.says(&["status", "--json"])).unwrap();
    assert_eq!(
        keys(&json),
        [
            "addresses",
            "confined",
            "doors",
            "events",
            "failed_commands",
            "grants",
            "grants_closing",
            "grants_open",
            "hits",
            "rejected",
            "resets",
            "restarts",
            "sources",
            "uptime_seconds",
            "version",
        ]
    );
    assert_eq!(
        json["doors"],
        serde_json::json!([{"name": "ssh", "steps": 3, "attempts": 1}])
    );
    let source = &json["sources"][0];
    assert_eq!(source["source"], daemon.log().to_str().unwrap());
    assert_eq!(source["trust"], "claimed");
    assert_eq!(source["health"], "following");
    assert_eq!(source["lines"], 4);
    let words = [
        "gaps",
        "health",
        "lag_ms",
        "last_line_seconds",
        "lines",
        "lost_lines",
        "overflows",
        "source",
        "trust",
    ];
    assert_eq!(keys(source), words);
    let grant = &json["grants"][0];
    assert_eq!(
        keys(grant),
        ["door", "failed", "left_seconds", "phase", "src"]
    );
    assert_eq!(
        (&grant["src"], &grant["phase"]),
        (&KNOCKER.into(), &"open".into())
    );
    for secret in SECRETS {
        assert!(!json.to_string().contains(secret), "{json}");
    }
}

#[test]
fn a_status_is_a_table_for_people() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.wait_until("it is open", |status| status.grants_open == 1);
    let said = daemon.says(&["status"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("logknock "), "{said}");
    assert!(lines.contains(&"door  knocks  attempts"), "{said}");
    assert!(lines.contains(&"ssh        3         0"), "{said}");
    let grant = format!("{KNOCKER}  ssh   open ");
    assert!(said.contains(&grant), "{said}");
    assert!(said.contains("3 hits, 0 rejected"), "{said}");
    assert!(
        !said.contains('\x1b'),
        "no colour but on a terminal: {said}"
    );
    let said = daemon.says(&["status", "--prometheus"]);
    assert!(
        said.contains("\nlogknock_grants{phase=\"open\"} 1\n"),
        "{said}"
    );
}

/// Every sentence with which a log says that messages are missing from it, and how many are.
const MISSING: [(&str, u64); 6] = [
    (
        "kernel: [    5.000001] net_ratelimit: 12 callbacks suppressed",
        12,
    ),
    ("systemd-journald[231]: Missed 3 kernel messages", 3),
    (
        "systemd-journald[231]: Suppressed 40 messages from rsyslog.service",
        40,
    ),
    (
        "rsyslogd: imjournal: 500 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
        500,
    ),
    (
        "rsyslogd: imuxsock lost 6000 messages from pid 4711 due to rate-limiting",
        6000,
    ),
    (
        "rsyslogd: imjournal: begin to drop messages due to rate-limiting",
        0,
    ),
];

#[test]
fn what_a_log_says_is_missing_is_counted_in_the_status_and_warned_of_once() {
    let daemon = Daemon::start_under_systemd(None);
    let mut lost = 0;
    for (number, (said, count)) in (1..).zip(MISSING) {
        daemon.write(&format!("Nov 20 10:00:00 gw {said}"));
        daemon.wait_until(said, |status| status.sources[0].gaps == number);
        lost += count;
        assert_eq!(daemon.status().sources[0].lost_lines, lost, "{said}");
    }
    daemon.write("Nov 20 10:00:00 gw sshd[1]: Missed 9 kernel messages");
    daemon.write("Nov 20 10:00:00 gw sshd[1]: net_ratelimit: 9 callbacks suppressed");
    daemon.wait_until("it has read on", |status| status.sources[0].lines == 8);
    let gaps = daemon.status().sources[0].gaps;
    assert_eq!(gaps, 6, "others are not believed");
    let said = daemon.said();
    let warned = |line: &&str| line.contains("WARN") && line.contains("may have been dropped");
    assert_eq!(said.lines().filter(warned).count(), 1, "{said}");
    daemon.await_notice("lost lines 6 times, 6555 or more");
    let table = daemon.says(&["status"]);
    assert!(table.contains("6555 or more"), "{table}");
    let metrics = daemon.says(&["status", "--prometheus"]);
    let source = daemon.log().display().to_string();
    for (name, value) in [("gaps", 6), ("lost_lines", 6555)] {
        let line = format!("logknock_source_{name}_total{{source=\"{source}\"}} {value}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn a_source_that_dies_is_told_and_comes_back_alone() {
    let mut daemon = Daemon::start_under_systemd(None);
    let [here, aside] = ["second.log", "aside.log"].map(|name| daemon.dir().join(name));
    fs::write(&here, "").unwrap();
    fs::set_permissions(&here, fs::Permissions::from_mode(0o600)).unwrap();
    daemon.follow_too(&here);
    daemon.wait_until("both are followed", |status| {
        let mut sources = status.sources.iter();
        sources.all(|source| source.health == "following")
    });
    fs::rename(&here, &aside).unwrap();
    daemon.wait_until("one is degraded", |status| {
        let source = &status.sources[1];
        source.health == "degraded" && source.trouble.is_some()
    });
    assert_eq!(daemon.status().sources[0].health, "following");
    daemon.await_notice("1 of 2 sources degraded");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    fs::rename(&aside, &here).unwrap();
    daemon.wait_until("it is followed again", |status| {
        status.sources[1].health == "following"
    });
    daemon.await_notice("following, 1 door open");
}

#[test]
fn a_door_is_opened_and_closed_by_hand() {
    let daemon = Daemon::start("");
    assert_eq!(
        daemon.says(&["open", "ssh", KNOCKER]),
        format!("opening ssh for {KNOCKER}\n")
    );
    daemon.await_command("open", KNOCKER);
    let other = daemon.asks(&["close", "198.51.100.9"]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(
        daemon.says(&["close", KNOCKER, "--json"]),
        "{\"count\":1}\n"
    );
    daemon.await_command("close", KNOCKER);
    daemon.wait_until("it is closed", |status| status.grants.is_empty());
    assert_eq!(daemon.says(&["close", "--all"]), "nothing is open\n");
    let unknown = daemon.asks(&["open", "smtp", KNOCKER]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("no door has this name"), "{said}");
}

#[test]
fn without_a_daemon_the_exit_status_says_so() {
    let mut daemon = Daemon::start("");
    let closed = daemon.stop();
    assert_eq!(closed.code(), Some(0));
    for args in [&["status"][..], &["close", "--all"], &["reload"]] {
        let output = daemon.asks(args);
        assert_eq!(output.status.code(), Some(69), "{args:?}");
    }
    assert!(!daemon.socket().exists());
}

#[test]
fn a_stranger_is_not_permitted() {
    let daemon = Daemon::start("");
    let nobody = |args: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command
            .arg(env!("CARGO_BIN_EXE_logknock"))
            .args(args)
            .output()
    };
    let able = nobody(&["--version"]).is_ok_and(|output| output.status.success());
    if !need::met(able, "root, setpriv, and a binary that nobody may run") {
        return;
    }
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = daemon.socket().parent().unwrap().to_owned();
    fs::set_permissions(state, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = daemon.socket();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    let ask = ["--control", socket.to_str().unwrap(), "close", "--all"];
    assert_eq!(nobody(&ask).unwrap().status.code(), Some(77));
    // Even where the file would let it.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(nobody(&ask).unwrap().status.code(), Some(77));
    assert!(daemon.asks(&["status"]).status.success());
}

#[test]
fn a_member_of_the_group_is_permitted() {
    let daemon = Daemon::start("group = \"65533\"\n");
    let member = |groups: &str, args: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", groups]);
        command
            .arg(env!("CARGO_BIN_EXE_logknock"))
            .args(args)
            .output()
    };
    let able = member("--clear-groups", &["--version"]);
    let able = able.is_ok_and(|output| output.status.success());
    if !need::met(able, "root, setpriv, and a binary that nobody may run") {
        return;
    }
    let socket = daemon.socket();
    for directory in [daemon.dir(), socket.parent().unwrap()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let ask = ["--control", socket.to_str().unwrap(), "status"];
    let exit = |groups| member(groups, &ask).unwrap().status.code();
    assert_eq!(exit("--groups=65533"), Some(0));
    assert_eq!(exit("--clear-groups"), Some(77));
}

#[test]
fn a_thousand_idle_and_slow_clients_disturb_no_knock() {
    let daemon = Daemon::start("");
    raise_the_limit_of_open_files();
    let mut clients = Vec::new();
    for number in 0..1000 {
        let Ok(mut client) = UnixStream::connect(daemon.socket()) else {
            continue;
        };
        if number % 2 == 0 {
            // One byte of a length, and no more. Who is turned away is not there to hear it.
            drop(client.write_all(b"\0"));
        }
        clients.push(client);
    }
    assert!(clients.len() > 900, "{} clients", clients.len());
    let knocked = Instant::now();
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    let took = knocked.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Those that were let in have to leave after a while, though they are still connected.
    daemon.wait_until("there is room again", |status| status.grants_open == 1);
    drop(clients);
}

fn raise_the_limit_of_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn garbage_and_endless_requests_are_answered_and_forgotten() {
    let daemon = Daemon::start("");
    let reply = |bytes: &[u8]| {
        let mut client = UnixStream::connect(daemon.socket()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(reply.get(4..).unwrap_or_default()).into_owned()
    };
    let framed = |json: &str| {
        [
            &u32::try_from(json.len()).unwrap().to_be_bytes()[..],
            json.as_bytes(),
        ]
        .concat()
    };
    for (bytes, says) in [
        (vec![0xff; 4], "too long"),
        (65_537_u32.to_be_bytes().to_vec(), "too long"),
        (framed("garbage"), "not understood"),
        (framed(&"[".repeat(65_536)), "not understood"),
        (framed("{\"version\":2,\"body\":\"status\"}"), "version 2"),
        (
            framed("{\"version\":1,\"body\":\"dance\"}"),
            "not understood",
        ),
    ] {
        let reply = reply(&bytes);
        assert!(
            reply.contains("failed") && reply.contains(says),
            "{says}: {reply}"
        );
    }
    for silent in [&b""[..], b"\0\0", b"\0\0\x01\0{"] {
        assert_eq!(reply(silent), "");
    }
    assert!(daemon.asks(&["status"]).status.success());
}

#[test]
fn a_broken_configuration_changes_nothing_and_says_where() {
    let daemon = Daemon::start("");
    let good = daemon.config();
    daemon.set_config(&good.replace("cmd_timeout", "cmd_timeuot"));
    let output = daemon.asks(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("logknock.toml:9:1"), "{said}");
    assert!(said.contains("did you mean 'cmd_timeout'?"), "{said}");
    assert!(
        SECRETS.iter().all(|secret| !said.contains(secret)),
        "{said}"
    );
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
}

#[test]
fn a_grant_keeps_its_old_close_command_over_a_reload() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    let renamed = daemon.config().replace("[door.ssh]", "[door.other]");
    daemon.set_config(&renamed.replace("echo close", "echo wrong"));
    assert_eq!(daemon.says(&["reload"]), "reloaded, 1 door\n");
    let status = daemon.status();
    assert_eq!(
        (&*status.doors[0].name, &*status.grants[0].door),
        ("other", "ssh")
    );
    daemon.says(&["close", "--all"]);
    daemon.await_command("close", KNOCKER);
    assert!(!daemon.commands().contains("wrong"));
}

#[test]
fn the_story_of_an_address_is_told_live_and_from_its_log() {
    let daemon = Daemon::start("");
    daemon.knock(KNOCKER, &[7101, 9303]);
    daemon.knock("198.51.100.9", &[7101]);
    daemon.write(&format!(
        "sshd[1]: lk-4f9a1c7e: IN=eth0 OUT= SRC={KNOCKER} DST=x"
    ));
    daemon.wait_until("all has been read", |status| status.sources[0].lines == 4);
    let reset = "back to the start after 1 of 3: this was not the next knock";
    let live = daemon.says(&["explain", KNOCKER]);
    let log = daemon.log();
    let logged = daemon.says(&["explain", KNOCKER, "--log", log.to_str().unwrap()]);
    for said in [&live, &logged] {
        assert!(said.contains("knock 1 of 3 was right"), "{said}");
        assert!(said.contains(reset), "{said}");
        assert!(said.contains("ssh did not open: 1 of 3 knocks"), "{said}");
        assert!(!said.contains("198.51.100.9"), "{said}");
        // The log's own name may hold anything.
        let said = said.replace(log.to_str().unwrap(), "");
        assert!(
            SECRETS.iter().all(|secret| !said.contains(secret)),
            "{said}"
        );
    }
    assert!(logged.contains("did not count: "), "{logged}");
    let unknown = daemon.says(&["explain", "192.0.2.99"]);
    assert!(
        unknown.contains("no packet line of 192.0.2.99 is known"),
        "{unknown}"
    );
    let json: Value = serde_json::from_str(&daemon.says(&["explain", KNOCKER, "--json"])).unwrap();
    assert_eq!(keys(&json), ["grants", "happenings", "src"]);
    assert_eq!(json["happenings"][1]["event"], "reset");
    assert_eq!(json["happenings"][1]["reason"], "wrong_port");
}

/// FAULTS of other daemons: a command that asks the daemon which waits for the command.
#[test]
fn a_command_may_ask_the_daemon_that_started_it() {
    let daemon = Daemon::start("");
    let script = format!(
        "{} --control {} status --json > {}",
        env!("CARGO_BIN_EXE_logknock"),
        daemon.socket().display(),
        daemon.dir().join("asked").display(),
    );
    let config = daemon.config();
    daemon.set_config(&config.replace(
        "echo open $LOGKNOCK_IP",
        &format!("{script}; echo open $LOGKNOCK_IP"),
    ));
    daemon.says(&["reload"]);
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    let asked = fs::read_to_string(daemon.dir().join("asked")).unwrap();
    let status: Status = serde_json::from_str(&asked).unwrap();
    assert_eq!(status.grants[0].phase, PhaseWord::Open);
}

#[test]
fn an_answer_takes_less_than_a_tenth_of_a_second() {
    let daemon = Daemon::start("");
    let took = (0..20).map(|_| {
        let asked = Instant::now();
        protocol::ask(&daemon.socket(), &Request::Status, PATIENCE).unwrap();
        asked.elapsed()
    });
    // The best of some: the machine may be busy with other things.
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn two_daemons_do_not_fight_for_a_socket() {
    let first = Daemon::start("");
    let control = format!("control = \"{}\"\n", first.socket().display());
    let mut second = Daemon::start_unasked(&control);
    second.await_said("another daemon answers there");
    let status = first.status();
    assert_eq!(status.sources[0].source, first.log().to_str().unwrap());
    second.stop();
    assert!(
        first.asks(&["status"]).status.success(),
        "its socket is still there"
    );
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let mut daemon = Daemon::start("");
    daemon.kill();
    if !daemon.socket().exists() {
        // The follower had the time to clean up.
        drop(UnixListener::bind(daemon.socket()).unwrap());
    }
    daemon.restart();
    assert!(daemon.asks(&["status"]).status.success());
}

#[test]
fn metrics_and_events_are_written_to_their_files() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    let (metrics, events) = (path("lk.prom"), path("events.jsonl"));
    let mut daemon = Daemon::start(&format!(
        "metrics_file = \"{}\"\nevent_log = \"{}\"\n",
        metrics.display(),
        events.display()
    ));
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    eventually("the events are on disk", || {
        read(&events).lines().count() == 4
    });
    fs::rename(&events, path("events.jsonl.1")).unwrap();
    daemon.says(&["reload"]);
    assert_eq!(daemon.stop().code(), Some(0));
    let text = read(&metrics);
    for line in [
        "logknock_hits_total 3",
        "logknock_events_total{event=\"open\"} 1",
        "logknock_events_total{event=\"close\"} 1",
        "logknock_grants{phase=\"open\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains(KNOCKER));
    let words = |text: String| {
        let event = |line| serde_json::from_str::<Value>(line).unwrap()["event"].clone();
        let events: Vec<Value> = text.lines().map(event).collect();
        events
    };
    assert_eq!(
        words(read(&path("events.jsonl.1"))),
        ["stage", "stage", "stage", "open"]
    );
    assert_eq!(words(read(&events)), ["close"]);
    assert_eq!(fs::metadata(&events).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_written_is_said_and_knocks_count_all_the_same() {
    let daemon = Daemon::start("metrics_file = \"/dev/full/x\"\nevent_log = \"/dev/full\"\n");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    daemon.await_said("path=/dev/full\n");
    daemon.await_said("/dev/full/x");
    let said = daemon.said();
    assert_eq!(said.matches("path=/dev/full\n").count(), 1, "{said}");
}

#[test]
fn systemd_is_told_and_the_watchdog_is_fed() {
    let mut daemon = Daemon::start_under_systemd(Some(Duration::from_millis(400)));
    daemon.await_notice("STATUS=following, no door open");
    for _ in 0..3 {
        daemon.await_notice("WATCHDOG=1");
    }
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_notice("STATUS=following, 1 door open");
    daemon.says(&["reload"]);
    let reloading = daemon.await_notice("RELOADING=1");
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    daemon.await_notice("READY=1");
    daemon.signal(rustix::process::Signal::TERM);
    daemon.await_notice("STOPPING=1");
    assert_eq!(daemon.ended().code(), Some(0));
}

#[test]
fn without_a_watchdog_none_is_fed() {
    let mut daemon = Daemon::start_under_systemd(None);
    daemon.await_notice("STATUS=following");
    daemon.stop();
    let rest = daemon.notices();
    assert!(
        rest.iter().all(|notice| !notice.contains("WATCHDOG")),
        "{rest:?}"
    );
}

#[test]
fn a_second_sigterm_does_not_hinder_the_first() {
    let mut daemon = Daemon::start("");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0));
    daemon.await_command("close", KNOCKER);
}

#[test]
fn doors_that_remain_are_an_exit_status_of_their_own() {
    let mut daemon = Daemon::start("stop_timeout = \"1s\"\n");
    let config = daemon.config();
    daemon.set_config(&config.replace("echo close", "exit 1; echo close"));
    daemon.says(&["reload"]);
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    daemon.says(&["close", "--all"]);
    let failed = |status: &Status| status.grants[0].phase == PhaseWord::Failed;
    daemon.wait_until("closing has failed", failed);
    assert_eq!(daemon.stop().code(), Some(75));
}

#[test]
fn a_sigterm_at_any_moment_of_the_start_leaves_a_state_that_can_be_read() {
    let mut daemon = Daemon::start("");
    daemon.stop();
    for millis in 0..12 {
        daemon.spawn();
        std::thread::sleep(Duration::from_millis(3 * millis));
        daemon.signal(rustix::process::Signal::TERM);
        let status = daemon.ended();
        // Before it listens to signals there is nothing to lose, and the signal ends it.
        assert!(matches!(status.code(), Some(0) | None), "{status}");
    }
    daemon.restart();
    assert_eq!(daemon.status().grants_open, 0);
}

#[test]
fn time_left_runs_down() {
    let daemon = Daemon::start("");
    daemon.says(&["open", "ssh", KNOCKER]);
    let status = daemon.status();
    let left = status.grants[0].left_seconds;
    assert!((HOLD - 10..=HOLD).contains(&left), "{left}");
    let request = Request::Close(Whose::Of(knocker()));
    let reply = protocol::ask(&daemon.socket(), &request, PATIENCE).unwrap();
    assert_eq!(reply, Reply::Done { count: 1 });
}
