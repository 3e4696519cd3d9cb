//! A wall clock that has jumped while the daemon ran, as the doctor and the status tell it.

use std::process::Command;

use logknock::protocol::{JumpStatus, Status};

use super::logknock::{Ended, Logknock};
use super::screens::{HOST, has_host};
use super::watch::serve;

const CONFIG: &str = "[log]\nsources = [\"/run/kern.log\"]\nprefix = \"lk-4f9a1c7e: \"\n[firewall]\nbackend = \"nft\"\n\
    [door.ssh]\nsequence = [7101, 8202, 9303]\nseq_timeout = \"15s\"\nopens = [22]\n";

/// Runs `command` beside a daemon that says so, on a host where all else is well.
fn told(jump: Option<JumpStatus>, command: &str) -> Ended {
    let scene = Logknock::new().file("logknock.toml", CONFIG);
    let status = Status {
        version: "1.2.3".to_owned(),
        jump,
        ..Status::default()
    };
    serve(&scene.path(""), status);
    let program = env!("CARGO_BIN_EXE_logknock");
    let script = format!(
        "{HOST} sh -c 'export LOGKNOCK_CONFIG=logknock.toml; {program} rules --for nft | nft -f - && \
         {program} {command} --control control.sock'"
    );
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &script]).env("TZ", "UTC0");
    shell.current_dir(scene.path("")).output().unwrap().into()
}

#[test]
fn a_clock_that_was_set_ahead_or_back_is_named_until_that_is_over() {
    if !has_host() {
        return;
    }
    for (ahead_seconds, words) in [
        (3 * 3600, "was set ahead by 3h, 4m5s ago"),
        (-90, "was set back by 1m30s, 4m5s ago"),
    ] {
        let jump = || {
            Some(JumpStatus {
                ahead_seconds,
                seconds_ago: 245,
            })
        };
        let doctor = told(jump(), "doctor");
        assert_eq!(doctor.code, Some(1), "{doctor:?}");
        let broken: Vec<_> = doctor
            .stdout
            .lines()
            .filter(|line| line.starts_with('✗'))
            .collect();
        assert!(
            matches!(broken.as_slice(), [row] if row.contains(&format!("clock          it {words}:"))),
            "{doctor:?}"
        );
        let status = told(jump(), "status").succeeds();
        status.prints_among_others(&format!("the clock {words}\n"));
    }
    let over = told(None, "doctor").succeeds();
    assert!(!over.stdout.contains("clock"), "{}", over.stdout);
}
