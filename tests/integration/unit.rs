//! The units that are packaged for systemd.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::need;

#[test]
fn the_daemons_unit_has_no_network_and_the_agents_has_no_rights() {
    let text = |name: &str| std::fs::read_to_string(unit().with_file_name(name)).unwrap();
    let daemon = text("logknock.service");
    let agent = text("logknock-fleet.service");
    let has = |text: &str, line: &str| text.lines().any(|other| other == line);
    assert!(has(&daemon, "RestrictAddressFamilies=AF_UNIX AF_NETLINK"));
    assert!(has(&daemon, "IPAddressDeny=any"));
    assert!(has(
        &agent,
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    ));
    assert!(has(&agent, "User=logknock-fleet"));
    assert!(has(&agent, "CapabilityBoundingSet="));
    assert!(text("logknock-fleet.sysusers.conf").contains("u logknock-fleet "));
}

/// systemd's own figure for what a service could do, from 0 to 10; this is ten times as much.
const MOST: &str = "20";
const MOST_OF_AGENT: &str = "15";

/// The lines of the unit.
fn lines() -> Vec<String> {
    let unit = std::fs::read_to_string(unit()).unwrap();
    unit.lines().map(str::to_owned).collect()
}

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/logknock.service")
}

/// By default systemd does so five times in ten seconds and never again, and doors would stay open.
#[test]
fn a_daemon_that_fails_is_started_again_however_often_and_not_at_once() {
    let lines = lines();
    let has = |line: &str| lines.iter().any(|other| other == line);
    assert!(has("Restart=on-failure") && has("StartLimitIntervalSec=0") && has("RestartSec=2s"));
    // One whose configuration is wrong closes what is due each time, if nothing keeps it from starting.
    let keeps = ["ExecStartPre=", "RestartPreventExitStatus="];
    let is_kept = |line: &String| keeps.iter().any(|key| line.starts_with(key));
    assert!(!lines.iter().any(is_kept));
}

#[test]
fn systemd_gives_the_daemon_less_than_two_points_and_the_agent_less_than_one_and_a_half() {
    if !need::program("systemd-analyze") {
        return;
    }
    let agent = unit().with_file_name("logknock-fleet.service");
    for (unit, most) in [(unit(), MOST), (agent, MOST_OF_AGENT)] {
        let looked = Command::new("systemd-analyze")
            .args([
                "security",
                "--no-pager",
                "--offline=true",
                "--threshold",
                most,
            ])
            .arg(unit)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&looked.stdout);
        let error = String::from_utf8_lossy(&looked.stderr);
        assert!(said.contains("Overall exposure level"), "{error}");
        assert!(looked.status.success(), "{said}");
        // What it does not understand it only tells.
        assert_eq!(error, "");
    }
}
