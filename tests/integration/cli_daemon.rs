//! The daemon on a log file, as the real binary, without root: commands that really run, signals that
//! are really sent, crashes that really happen.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::logknock::{Logknock, PREFIX, eventually};

/// What the commands of a door have noted by then.
const OPENED_AND_CLOSED: &str = "open 203.0.113.7\nclose 203.0.113.7\n";

#[test]
fn a_knock_opens_and_the_time_closes() {
    let logknock = Logknock::new().door("cmd_timeout = 1");
    let daemon = logknock.follow("");
    logknock.knock("203.0.113.7");
    logknock.awaits_act("close 203.0.113.7");
    assert_eq!(logknock.read("acts"), OPENED_AND_CLOSED);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ends(), 0);
}

#[test]
fn its_events_are_json_on_standard_output() {
    let logknock = Logknock::new().door("cmd_timeout = 1");
    let mut daemon = logknock.follow("--json");
    logknock.knock("203.0.113.7");
    for event in ["stage", "stage", "stage", "open", "close"] {
        let line = daemon.says("\"event\":");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["event"], &object["src"]),
            (&event.into(), &"203.0.113.7".into())
        );
        assert_eq!(object["door"], "ssh");
    }
}

#[test]
fn sigterm_closes_what_is_open_and_ends_well() {
    let logknock = Logknock::new().door("cmd_timeout = \"1h\"");
    let daemon = logknock.follow("");
    logknock.knock("203.0.113.7");
    logknock.awaits_act("open 203.0.113.7");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ends(), 0);
    assert_eq!(logknock.read("acts"), OPENED_AND_CLOSED);
}

#[test]
fn what_was_open_when_it_was_killed_is_closed_by_the_next_one_when_due() {
    let logknock = Logknock::new().door("cmd_timeout = 3");
    let daemon = logknock.follow("");
    let knocked = Instant::now();
    logknock.knock("203.0.113.7");
    // Its open is known to have succeeded: what is in doubt would be opened anew.
    eventually(
        || {
            logknock
                .read("state/grants.jsonl")
                .contains("\"record\":\"opened\"")
        },
        || "its open does not end".to_owned(),
    );
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.ends(), -9);
    let _daemon = logknock.follow("");
    logknock.awaits_act("close 203.0.113.7");
    assert!(
        knocked.elapsed() > Duration::from_secs(3),
        "closed too soon"
    );
    assert_eq!(logknock.read("acts"), OPENED_AND_CLOSED);
}

#[test]
fn a_dry_run_tells_its_commands_and_leaves_nothing_behind() {
    let logknock = Logknock::new().door("cmd_timeout = 1");
    let mut daemon = logknock.follow("--dry-run");
    logknock.knock("203.0.113.7");
    assert!(daemon.says("would run: /bin/sh -c ").contains("open"));
    assert!(daemon.says("would run: /bin/sh -c ").contains("close"));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ends(), 0);
    assert!(!logknock.path("state").exists() && !logknock.path("acts").exists());
}

#[test]
fn a_second_one_in_the_same_state_directory_is_75() {
    let logknock = Logknock::new().door("");
    let _daemon = logknock.follow("");
    let second = logknock.run("--state-dir state --follow kern.log");
    second.fails_with(75).prints_nothing();
}

#[test]
fn a_state_directory_that_cannot_be_made_is_70() {
    let logknock = Logknock::new().door("").file("kern.log", "");
    let ended = logknock.run("--state-dir none/state --follow kern.log");
    ended.fails_with(70).prints_nothing().says("none/state");
}

#[test]
fn a_state_directory_that_others_may_write_is_77() {
    let logknock = Logknock::new().door("").file("kern.log", "");
    std::fs::create_dir(logknock.path("state")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(logknock.path("state"), mode).unwrap();
    logknock
        .run("--state-dir state --follow kern.log")
        .fails_with(77)
        .prints_nothing();
}

#[test]
fn a_prefix_that_can_be_guessed_is_78_until_forgeries_are_accepted() {
    let guessed = format!("prefix = \"{PREFIX}\"");
    let logknock = Logknock::new().door("");
    let config = logknock
        .read("logknock.toml")
        .replace(&guessed, "prefix = \"KNOCK: \"");
    logknock.write("logknock.toml", config);
    logknock.append("kern.log", "");
    let refused = logknock.run("--state-dir state --follow kern.log");
    refused
        .fails_with(78)
        .prints_nothing()
        .says("accept_forgeable");
    let _accepted = logknock.follow("--accept-forgeable");
}

#[test]
fn a_prefix_on_the_command_line_can_be_the_secret() {
    let logknock = Logknock::new().door("");
    let secret = format!("prefix = \"{PREFIX}\"");
    let config = logknock.read("logknock.toml").replace(&secret, "");
    logknock.write("logknock.toml", config);
    logknock.append("kern.log", "");
    logknock
        .run("--state-dir state --follow kern.log")
        .fails_with(78)
        .prints_nothing();
    // Without the blank at its end, as the builder splits at blanks: these lines are of another rule.
    let _daemon = logknock.follow(&format!("--prefix {}", PREFIX.trim_end()));
    logknock.knock("203.0.113.7");
    assert_eq!(logknock.read("acts"), "");
}

#[test]
fn nothing_to_follow_is_78() {
    let logknock = Logknock::new().door("");
    logknock.run("").fails_with(78).says("nothing to follow");
}

#[test]
fn sighup_takes_a_good_config() {
    let logknock = Logknock::new().door("cmd_timeout = \"1h\"");
    let mut daemon = logknock.follow("");
    let config = logknock
        .read("logknock.toml")
        .replace("[7000, 8000, 9000]", "[7001]");
    logknock.write("logknock.toml", config);
    daemon.signal(Signal::HUP);
    daemon.says("reloaded");
    logknock.knock("203.0.113.7");
    logknock.append("kern.log", &logknock.packet("203.0.113.8", 7001));
    logknock.awaits_act("open 203.0.113.8");
    assert_eq!(logknock.read("acts"), "open 203.0.113.8\n");
}

#[test]
fn sighup_leaves_everything_as_it_was_for_a_bad_config() {
    let logknock = Logknock::new().door("cmd_timeout = \"1h\"");
    let mut daemon = logknock.follow("");
    logknock.write("logknock.toml", "[door.ssh]\nsequence = [70000]\n");
    daemon.signal(Signal::HUP);
    daemon.says("not reloaded, nothing has changed");
    logknock.knock("203.0.113.7");
    logknock.awaits_act("open 203.0.113.7");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ends(), 0);
    assert_eq!(logknock.read("acts"), OPENED_AND_CLOSED);
}

#[test]
fn a_file_that_appears_later_is_followed_from_its_beginning() {
    let logknock = Logknock::new().door("");
    let log = logknock.path("kern.log").display().to_string();
    let state = logknock.path("state").display().to_string();
    let mut daemon = logknock.start(&format!("--state-dir {state} --follow {log}"));
    daemon.says("kern.log");
    logknock.knock("203.0.113.7");
    logknock.awaits_act("open 203.0.113.7");
}

#[test]
fn a_command_that_hangs_for_one_address_holds_up_no_other() {
    let logknock = Logknock::new().door("cmd_timeout = \"1h\"");
    let config = logknock.read("logknock.toml").replace(
        "\"echo open $1 >> $2\"",
        "\"[ $1 = 198.51.100.66 ] && exec sleep 3600; echo open $1 >> $2\"",
    );
    let config = format!("[daemon]\nstop_timeout = 1\ncommand_timeout = \"5m\"\n{config}");
    logknock.write("logknock.toml", config);
    let mut daemon = logknock.follow("");
    logknock.knock("198.51.100.66");
    daemon.says("open");
    logknock.knock("203.0.113.7");
    logknock.awaits_act("open 203.0.113.7");
    daemon.signal(Signal::TERM);
    // The one that hangs is killed, and left to the next start.
    assert_eq!(daemon.ends(), 75);
    assert!(logknock.read("acts").contains("close 203.0.113.7"));
}

#[test]
fn doors_are_closed_even_if_the_reader_of_its_events_is_gone() {
    let logknock = Logknock::new().door("cmd_timeout = 1");
    logknock.append("kern.log", "");
    let state = logknock.path("state").display().to_string();
    let log = logknock.path("kern.log").display().to_string();
    let script = format!(
        "{} --json --state-dir {state} --follow {log} 2>{state}.err | head -n 1 >{state}.out",
        env!("CARGO_BIN_EXE_logknock")
    );
    let mut shell = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(logknock.path(""))
        .env("LOGKNOCK_CONFIG", "logknock.toml")
        .spawn()
        .unwrap();
    eventually(
        || logknock.read("state.err").contains("following"),
        || "it does not follow".to_owned(),
    );
    logknock.knock("203.0.113.7");
    logknock.awaits_act("close 203.0.113.7");
    let pid = logknock.read("state/lock").trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(shell.wait().unwrap().success());
}
