//! The two processes of the daemon: what the one that reads logs can do, and what becomes of the doors
//! when one of them is gone, or hangs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use logknock::clock;
use rustix::process::Signal;

use super::daemon::{Daemon, KNOCKER, PORTS, eventually};
use super::need;
use super::processes::{self, send};

/// The process that reads the log.
fn follower(daemon: &Daemon) -> i32 {
    let mut found = None;
    eventually("there is a follower", || {
        found = processes::follower(daemon.pid());
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
fn what_somebody_who_has_taken_over_the_follower_tries_the_kernel_refuses() {
    if !need::met(cfg!(debug_assertions), "a build that tries it") {
        return;
    }
    let daemon = Daemon::start_attacked();
    let confined = daemon.status().confined.unwrap();
    if !need::met(confined.files == "full", "a kernel with Landlock")
        || !need::met(confined.calls == "full", "a kernel with seccomp")
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
fn a_follower_that_is_killed_is_started_again_and_closes_what_was_open() {
    let mut daemon = Daemon::start("");
    set_hold(&daemon, "2s");
    daemon.open();
    for restarts in 1..=2 {
        send(follower(&daemon), Signal::KILL);
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
fn a_follower_that_hangs_holds_no_door_open_and_no_stop_up() {
    let mut daemon = Daemon::start("stop_timeout = \"1s\"\n");
    set_hold(&daemon, "1s");
    daemon.open();
    send(follower(&daemon), Signal::STOP);
    daemon.await_command("close", KNOCKER);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn the_follower_does_not_outlive_the_runner() {
    let mut daemon = Daemon::start("");
    let follower = follower(&daemon);
    daemon.kill();
    let stat = format!("/proc/{follower}/stat");
    eventually("it ends", || {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
fn a_source_that_the_follower_cannot_open_ends_the_daemon_with_its_own_exit_status() {
    let mut daemon = Daemon::start("");
    daemon.stop();
    let refused = daemon.asks(&["--accept-forgeable", "--follow", "unix:/nonexistent/socket"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert_eq!(said.matches("cannot follow").count(), 1, "{said}");
}

/// What a follower says to have the door opened, as the first grant there is; it is due at once.
fn open(src: &str) -> String {
    format!(
        r#"{{"open":{{"grant":1,"knock":{{"door":"ssh","src":"{src}","dst":"192.0.2.1","port":9303,"udp":false,"interface":"eth0"}},"deadline":0,"spend":null,"last":null}}}}"#
    )
}

#[test]
fn a_follower_that_says_it_is_done_ends_no_daemon_that_has_more_to_read() {
    if !need::met(cfg!(debug_assertions), "a build that tries it") {
        return;
    }
    let says = format!("\"started\"\n{}\n\"done\"", open(KNOCKER));
    let mut daemon = Daemon::start_lied_to("on_exit = \"keep\"\n", &says);
    daemon.await_command("close", KNOCKER);
    eventually("it is started again and again", || {
        daemon.said().matches("it is started again").count() > 1
    });
    assert_eq!(daemon.stop().code(), Some(0));
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
