//! The two processes of the daemon: what the one that reads logs can do, and what becomes of the doors
//! when one of them is gone, or hangs.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use logknock::clock;
use logknock::confine::Strength;
use logknock::protocol::Status;
use rustix::process::Signal;

use super::daemon::{Daemon, HOLD, KNOCKER, PORTS, eventually};
use super::need;
use super::processes::{self, send};

/// The process that reads the log.
fn detector(daemon: &Daemon) -> i32 {
    let mut found = None;
    eventually("there is a detector", || {
        found = processes::detector(daemon.pid());
        found.is_some()
    });
    found.unwrap()
}

fn set_hold(daemon: &Daemon, hold: &str) {
    let config = daemon.config();
    let (before, after) = config.split_once("cmd_timeout = ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    daemon.set_config(&format!("{before}cmd_timeout = \"{hold}\"\n{after}"));
    daemon.says(&["reload"]);
}

#[test]
fn the_kernel_refuses_what_a_compromised_detector_tries() {
    if !need::met(cfg!(debug_assertions), "a build that tries it") {
        return;
    }
    let daemon = Daemon::start_attacked();
    let confined = daemon.status().confined.unwrap();
    if !need::met(confined.files == Strength::Full, "a kernel with Landlock")
        || !need::met(confined.calls == Strength::Full, "a kernel with seccomp")
    {
        return;
    }
    let said = daemon.said();
    let tries: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("attack: "))
        .collect();
    assert!(tries.len() > 15, "{said}");
    for line in tries {
        let (what, result) = line.split_once(": ").unwrap();
        let expected = match what {
            "read the log" => ["done", ""],
            // EPERM of seccomp, EACCES of Landlock.
            _ => ["errno 1", "errno 13"],
        };
        assert!(expected.contains(&result), "{line}");
    }
    assert!(!Path::new("/tmp/logknock-attack").exists());
    assert!(
        confined
            .capabilities
            .iter()
            .all(|left| left == "DAC_READ_SEARCH")
    );
    daemon.open();
}

#[test]
fn a_detector_that_is_killed_is_started_again_and_closes_what_was_open() {
    let mut daemon = Daemon::start("");
    set_hold(&daemon, "2s");
    daemon.open();
    for restarts in 1..=2 {
        send(detector(&daemon), Signal::KILL);
        daemon.wait_until("another one follows", |status| {
            status.restarts == restarts && status.sources[0].health == "following"
        });
    }
    daemon.await_command("close", KNOCKER);
    assert_eq!(daemon.commands().lines().count(), 2);
    daemon.knock("203.0.113.8", &PORTS);
    daemon.await_command("open", "203.0.113.8");
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.await_command("close", "203.0.113.8");
}

#[test]
fn a_detector_that_hangs_holds_no_door_open_and_no_stop_up() {
    let mut daemon = Daemon::start("stop_timeout = \"1s\"\n");
    set_hold(&daemon, "1s");
    daemon.open();
    send(detector(&daemon), Signal::STOP);
    daemon.await_command("close", KNOCKER);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn the_detector_does_not_outlive_the_monitor() {
    let mut daemon = Daemon::start("");
    let detector = detector(&daemon);
    daemon.kill();
    let stat = format!("/proc/{detector}/stat");
    eventually("it ends", || {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
fn a_source_that_the_detector_cannot_open_ends_the_daemon_with_its_own_exit_status() {
    let mut daemon = Daemon::start("");
    daemon.stop();
    let refused = daemon.asks(&["--accept-forgeable", "--follow", "unix:/nonexistent/socket"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert_eq!(said.matches("cannot follow").count(), 1, "{said}");
}

/// What a detector says of a completed knock.
fn knocked(door: &str, src: &str) -> String {
    format!(
        r#"{{"knocked":{{"facts":{{"door":"{door}","src":"{src}","dst":"192.0.2.1","step":{{"port":9303,"transport":"tcp"}},"interface":"eth0"}},"used":null,"until":null,"last":null,"whence":null}}}}"#
    )
}

/// A daemon whose detector says these messages before it follows, once all of them have been heard; none
/// in a build in which nobody can lie.
fn lied_to(keys: &str, messages: &str) -> Option<Daemon> {
    if !need::met(cfg!(debug_assertions), "a build that tries it") {
        return None;
    }
    let daemon = Daemon::start_lied_to(keys, messages);
    daemon.await_said("following");
    Some(daemon)
}

#[test]
fn a_detector_that_says_it_is_done_ends_no_daemon_that_has_more_to_read() {
    let Some(mut daemon) = lied_to("on_exit = \"keep\"\n", "\"following\"\n\"done\"") else {
        return;
    };
    daemon.open();
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_detector_that_lies_has_a_door_opened_for_an_address_that_may_enter_and_for_its_hold_only() {
    let says = [knocked("ssh", KNOCKER), knocked("ssh", "203.0.113.8")].join("\n");
    let says = says.replace("\"until\":null", "\"until\":9223372036854775807");
    let Some(daemon) = lied_to("", &says) else {
        return;
    };
    for src in [KNOCKER, "203.0.113.8"] {
        daemon.await_command("open", src);
    }
    let held = daemon.status().grants;
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|grant| grant.left_seconds <= HOLD));
}

#[test]
fn what_a_detector_may_not_ask_for_is_refused_and_said_once_a_minute_however_often_it_asks() {
    let elsewhere =
        r#"{"entered":{"door":"nowhere","src":"203.0.113.7","whence":{"source":0,"line":1}}}"#;
    let overcount = r#"{"overcount":{"door":"nowhere","src":"203.0.113.7","whence":null}}"#;
    let says = [
        format!("1000*{}", knocked("nowhere", KNOCKER)),
        // Nobody, and an address in a form that no log has.
        format!("1000*{}", knocked("ssh", "0.0.0.0")),
        format!("1000*{}", knocked("ssh", "::ffff:203.0.113.7")),
        // A sequence that opens once, of a door that has none.
        format!(
            "1000*{}",
            knocked("ssh", KNOCKER).replace("\"used\":null", "\"used\":{\"until\":9999999999}")
        ),
        format!("1000*{elsewhere}"),
        format!("1000*{overcount}"),
        // Failed codes of a door that has none.
        format!("1000*{}", codes_failed("ssh", 0)),
    ];
    let Some(daemon) = lied_to("", &says.join("\n")) else {
        return;
    };
    daemon.wait_until("it answers", |status| status.grants.is_empty());
    daemon.open();
    let said = daemon.said();
    let warned = |line: &&str| line.contains("may not be opened");
    assert_eq!(said.lines().filter(warned).count(), 1, "{said}");
    assert_eq!(daemon.commands().lines().count(), 1);
}

/// What a detector says of too many failed codes: until when they are refused.
fn codes_failed(door: &str, until: i64) -> String {
    format!(r#"{{"codes_failed":{{"door":"{door}","until":{until}}}}}"#)
}

#[test]
fn a_detector_shuts_a_door_with_a_code_for_an_hour_and_no_longer() {
    let keys = "[door.code]\nsequence = [7001, 8002]\nstart_command = \"true\"\n\
                totp = { secret = \"MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U\", code = {} }\n";
    let now = clock::wall_now().as_nanos() / 1_000_000_000;
    for (ahead, refused) in [(3600, 1), (2 * 3600, 0)] {
        let Some(daemon) = lied_to(keys, &codes_failed("code", now + ahead)) else {
            return;
        };
        assert_eq!(daemon.status().codes_refused.len(), refused);
    }
}

#[test]
fn a_detector_closes_no_door_that_is_neither_for_one_nor_counts() {
    let says = [
        knocked("ssh", KNOCKER),
        r#"{"entered":{"door":"ssh","src":"203.0.113.7","whence":{"source":0,"line":1}}}"#
            .to_owned(),
        r#"{"overcount":{"door":"ssh","src":"203.0.113.7","whence":null}}"#.to_owned(),
    ];
    let Some(daemon) = lied_to("", &says.join("\n")) else {
        return;
    };
    daemon.await_command("open", KNOCKER);
    assert_eq!(daemon.status().grants_open, 1);
    assert!(!daemon.commands().contains("close"));
}

#[test]
fn a_detector_that_sends_a_malformed_message_is_killed_before_its_next_message_is_read() {
    if !need::met(cfg!(debug_assertions), "a build that tries it") {
        return;
    }
    let known = knocked("ssh", KNOCKER);
    for garbage in [
        "{}".to_owned(),
        "{\"open\":{\"grant\":1}}".to_owned(),
        known.replace("\"until\"", "\"grant\":1,\"until\""),
        known.replace("\"dst\"", "\"grant\":1,\"dst\""),
        known.replace("eth0", "--eth0"),
        known.replace("ssh", &"x".repeat(65)),
        format!("{{\"alive\":\"{}\"}}", "x".repeat(1025)),
        "{\"alive\":\"one\\u000aREADY=1\"}".to_owned(),
        "{\"journal\":{\"source\":0,\"wanted\":{\"from\":\"--file=/etc/shadow\"}}}".to_owned(),
    ] {
        let says = format!("\"following\"\n{garbage}\n{known}");
        let mut daemon = Daemon::start_lied_to("", &says);
        eventually("it is started again and again", || {
            daemon.said().matches("is started again").count() > 1
        });
        assert_eq!(daemon.commands(), "", "{garbage}");
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

#[test]
fn a_detector_that_reads_nothing_before_it_follows_ends_the_daemon_with_a_failure_that_is_told() {
    if !need::met(cfg!(debug_assertions), "a build that tries it") {
        return;
    }
    // Each is refused with an answer, and eight megabytes of these may wait.
    let says = "600000*{\"journal\":{\"source\":7,\"wanted\":\"latest\"}}";
    let mut daemon = Daemon::start_lied_to("", says);
    assert_eq!(daemon.ended().code(), Some(70));
    assert!(
        daemon.said().contains("killed before it followed"),
        "{}",
        daemon.said()
    );
}

#[test]
fn a_detector_that_floods_holds_up_no_stop_and_no_request() {
    let says = [
        "20000*{\"alive\":\"x\"}",
        "20000*{\"answer\":{\"to\":1,\"piece\":{\"more\":true,\"text\":\"x\"}}}",
        "20000*\"reloaded\"",
        "2000*{\"journal\":{\"source\":7,\"wanted\":\"latest\"}}",
    ];
    let Some(mut daemon) = lied_to("", &says.join("\n")) else {
        return;
    };
    daemon.open();
    assert!(daemon.says(&["status"]).contains("ssh"));
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.await_command("close", KNOCKER);
}

#[test]
fn a_detector_that_is_silent_costs_a_status_a_second_and_it_says_so() {
    let daemon = Daemon::start("");
    daemon.open();
    send(detector(&daemon), Signal::STOP);
    let asked = clock::boot_now();
    let status = daemon.status();
    let took = clock::boot_now().since(asked);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(status.detector_trouble.is_some());
    assert_eq!((status.grants_open, status.doors.len()), (1, 1));
    assert!(daemon.says(&["status"]).contains("does not answer"));
}

#[test]
fn a_client_that_says_nothing_holds_up_no_other() {
    let daemon = Daemon::start("");
    let silent: Vec<_> = (0..8)
        .map(|_| UnixStream::connect(daemon.socket()).unwrap())
        .collect();
    let asked = clock::boot_now();
    assert!(daemon.status().detector_trouble.is_none());
    let took = clock::boot_now().since(asked);
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(silent);
}

#[test]
fn what_is_due_is_closed_by_a_daemon_that_cannot_follow_its_source() {
    let mut daemon = Daemon::start("");
    set_hold(&daemon, "1s");
    daemon.knock(KNOCKER, &[7101, 8202, 9303]);
    daemon.await_command("open", KNOCKER);
    let due = clock::boot_now().after(Duration::from_secs(1));
    daemon.kill();
    eventually("it is due", || clock::boot_now() > due);
    let words = ["--accept-forgeable", "--follow", "unix:/nonexistent/socket"];
    assert_eq!(daemon.asks(&words).status.code(), Some(69));
    daemon.await_command("close", KNOCKER);
}

#[test]
fn what_is_due_is_closed_by_a_daemon_whose_configuration_is_wrong_and_nothing_else() {
    for (hold, closes) in [("1s", true), ("1h", false)] {
        let mut daemon = Daemon::start("");
        set_hold(&daemon, hold);
        daemon.knock(KNOCKER, &[7101, 8202, 9303]);
        daemon.await_command("open", KNOCKER);
        let due = clock::boot_now().after(Duration::from_secs(1));
        daemon.kill();
        eventually("it may be due", || clock::boot_now() > due);
        daemon.set_config("[door.ssh]\n");
        let wrong = daemon.asks(&["--follow", "/var/log/kern.log"]);
        assert_eq!(wrong.status.code(), Some(78));
        assert_eq!(daemon.commands().contains("close"), closes, "{hold}");
        let said = String::from_utf8_lossy(&wrong.stderr);
        assert_eq!(said.contains("closed, as it was due"), closes, "{said}");
    }
}

#[test]
fn a_detector_that_has_a_slow_door_opened_for_hundreds_holds_up_no_other_and_no_open_runs_late() {
    // As many as one variable of the environment holds.
    const ASKED: u16 = 400;
    // Of one address no two commands run at once, so each asks for another.
    let knocks = (0..ASKED).map(|number| {
        let [high, low] = number.to_be_bytes();
        knocked("slow", &format!("10.0.{high}.{low}"))
    });
    let doors = "\n[door.slow]\nsequence = [7500]\ncmd_timeout = 1\nstart_command = [\"/bin/sleep\", \"2\"]\n\
         stop_command = [\"/bin/true\"]\n";
    let Some(daemon) = lied_to(doors, &knocks.collect::<Vec<_>>().join("\n")) else {
        return;
    };
    daemon.open();
    let slow = |status: &Status| {
        status
            .grants
            .iter()
            .filter(|grant| grant.door == "slow")
            .count()
    };
    // All of them one after another would take minutes.
    daemon.wait_until("no open waits for its turn after its time", |status| {
        slow(status) == 0
    });
}
