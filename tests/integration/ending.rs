//! What the service manager is told, and how the daemon ends at a signal.

use std::time::Duration;

use logknock::protocol::{Phase, Status};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use rustix::pipe::fcntl_setpipe_size;

use super::daemon::{Daemon, KNOCKER, PORTS};

#[test]
fn systemd_is_notified_and_the_watchdog_is_fed() {
    let mut daemon = Daemon::start_under_systemd(Some(Duration::from_millis(400)));
    daemon.await_notice("STATUS=following, no door open");
    for _ in 0..3 {
        daemon.await_notice("WATCHDOG=1");
    }
    daemon.knock(KNOCKER, &PORTS);
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
    daemon.open();
    daemon.signal(rustix::process::Signal::TERM);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0));
    daemon.await_command("close", KNOCKER);
}

#[test]
fn a_reader_of_its_messages_that_reads_none_holds_up_no_knock_no_close_and_no_stop() {
    let mut daemon = Daemon::start("");
    daemon.stop();
    let errors = daemon.dir().join("errors");
    mkfifoat(CWD, &errors, Mode::RUSR | Mode::WUSR).unwrap();
    let reader = open(&errors, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    fcntl_setpipe_size(&reader, 8192).unwrap();
    let script = format!("exec \"$@\" 2>{}", errors.display());
    daemon.start_by(&["/bin/sh", "-c", &script, "sh"]);
    daemon.restart();
    for _ in 0..300 {
        daemon.says(&["reload"]);
    }
    daemon.open();
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.await_command("close", KNOCKER);
}

#[test]
fn doors_that_remain_are_an_exit_status_of_their_own() {
    let mut daemon = Daemon::start("stop_timeout = \"1s\"\n");
    let config = daemon.config();
    daemon.set_config(&config.replace("echo close", "exit 1; echo close"));
    daemon.says(&["reload"]);
    daemon.open();
    daemon.says(&["close", "--all"]);
    let failed = |status: &Status| status.grants[0].phase == Phase::Owed;
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
