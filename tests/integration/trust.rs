//! Sources that are refused: by `check` and by the daemon, with the same words and exit status.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A config with one log file, both private.
struct Etc(TempDir);

impl Etc {
    fn new(prefix: &str) -> Self {
        let etc = Self(tempfile::tempdir().unwrap());
        let log = etc.path("kern.log");
        let config = format!(
            "[log]\nsources = [\"{log}\"]\n{prefix}\n[door.ssh]\nsequence = [7001, 8002]\n\
             start_command = [\"true\"]\nstop_command = [\"true\"]\n"
        );
        etc.write("kern.log", "", 0o600);
        etc.write("logknock.toml", &config, 0o600);
        etc
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn logknock(&self, words: &[&str]) -> Output {
        let (config, state) = (self.path("logknock.toml"), self.path("state"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_logknock"));
        command
            .args(words)
            .args(["--config", &config, "--state-dir", &state]);
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    // Warnings depend on the machine; the daemon, which refuses, does not print them.
    let errors = said
        .find("logknock: error: ")
        .map_or("", |start| &said[start..]);
    errors.to_owned()
}

#[test]
fn check_and_the_daemon_refuse_with_the_same_words() {
    for (prefix, code) in [("", 78), ("prefix = \"KNOCK: \"", 78)] {
        let etc = Etc::new(prefix);
        let (check, daemon) = (etc.logknock(&["check"]), etc.logknock(&[]));
        assert_eq!(check.status.code(), Some(code));
        assert_eq!(daemon.status.code(), Some(code));
        assert!(said(&check).contains("$inputname == \"imklog\""));
        assert_eq!(said(&check), said(&daemon));
    }
}

#[test]
fn a_log_that_others_can_write_ends_both_with_77() {
    let etc = Etc::new("prefix = \"lk-4f9a1c7e: \"");
    etc.write("kern.log", "", 0o666);
    let (check, daemon) = (etc.logknock(&["check"]), etc.logknock(&[]));
    assert_eq!(
        (check.status.code(), daemon.status.code()),
        (Some(77), Some(77))
    );
    assert_eq!(said(&check), said(&daemon));
}

#[test]
fn check_is_content_with_a_secret_prefix_and_changes_nothing() {
    let etc = Etc::new("prefix = \"lk-4f9a1c7e: \"");
    let check = etc.logknock(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    let table = String::from_utf8(check.stdout).unwrap();
    assert!(table.ends_with("kern.log  secret prefix\n"), "{table}");
    let mut names: Vec<_> = fs::read_dir(etc.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["kern.log", "logknock.toml"]);
}

#[test]
fn the_command_line_overrides_what_check_grades() {
    let etc = Etc::new("");
    for words in [
        ["--prefix", "lk-4f9a1c7e: "].as_slice(),
        &["--accept-forgeable"],
    ] {
        let check = etc.logknock(&[&["check"], words].concat());
        assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    }
}

#[test]
fn check_json_has_a_line_for_each_finding_and_each_source() {
    let etc = Etc::new("");
    let check = etc.logknock(&["check", "--json"]);
    assert_eq!(check.status.code(), Some(78));
    let rows: Vec<Value> = String::from_utf8(check.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let source = rows.last().unwrap();
    assert_eq!(source["source"], etc.path("kern.log"));
    assert_eq!(
        (&source["trust"], &source["refused"]),
        (&"forgeable".into(), &true.into())
    );
    assert!(
        rows.iter()
            .any(|row| row["severity"] == "error" && row["fix"].is_string())
    );
}

#[test]
fn records_may_be_beside_what_the_daemon_reads_and_runs() {
    let etc = Etc::new("prefix = \"lk-4f9a1c7e: \"");
    let config = fs::read_to_string(etc.path("logknock.toml")).unwrap();
    for key in ["event_log", "metrics_file", "knockd_log"] {
        let path = etc.path("records");
        let config = format!("{config}[daemon]\n{key} = \"{path}\"\n");
        etc.write("logknock.toml", &config, 0o600);
        let check = etc.logknock(&["check"]);
        assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    }
}
