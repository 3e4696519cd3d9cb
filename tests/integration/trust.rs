//! Sources that are refused: by `check` and by the daemon, with the same words and exit status.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::need;

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

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn logknock(&self, words: &[&str]) -> Output {
        self.logknock_with(words, &[])
    }

    /// The same with other places of some files; a daemon that nothing is refused to is ended.
    fn logknock_with(&self, words: &[&str], places: &[&str]) -> Output {
        let (config, state) = (self.path("logknock.toml"), self.path("state"));
        let usual = [["--config", &config], ["--state-dir", &state]];
        let usual = usual.iter().filter(|[name, _]| !places.contains(name));
        let mut command = Command::new("timeout");
        command.args(["20", env!("CARGO_BIN_EXE_logknock")]);
        command.args(words).args(usual.flatten()).args(places);
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

/// What is trusted, behind two directories in one in which others can write: the name of it, what is in it, and what
/// names it. `@` is where it is.
const BEHIND: [(&str, &str, &str); 7] = [
    ("configuration", "", "--config @"),
    (
        "drop-in",
        "[door.web]\nsequence = [7003, 8004]\nstart_command = [\"true\"]\n",
        "",
    ),
    ("prefix file", "lk-4f9a1c7e: \n", "--prefix-file @"),
    (
        "secret file",
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n",
        "totp = { secret_file = \"@\" }",
    ),
    ("list", "7001,8002\n", "one_time_sequences = \"@\""),
    ("socket", "", "unix:@"),
    ("state directory", "", "--state-dir @"),
];

#[test]
fn nothing_is_trusted_that_others_could_swap_by_a_directory_far_above_it() {
    let is_able = Command::new("setpriv")
        .args(["--reuid=65534", "true"])
        .status();
    if !need::met(
        is_able.is_ok_and(|status| status.success()),
        "root and setpriv",
    ) {
        return;
    }
    for (what, content, names) in BEHIND {
        let etc = Etc::new("prefix = \"lk-4f9a1c7e: \"");
        let near = etc.0.path().join("shared/near/nearer");
        fs::create_dir_all(&near).unwrap();
        let place = near.join("trusted");
        let is_there = !["socket", "state directory"].contains(&what);
        let names = names.replace('@', place.to_str().unwrap());
        let mut config = fs::read_to_string(etc.path("logknock.toml")).unwrap();
        let mut words: Vec<&str> = Vec::new();
        let content = match what {
            "configuration" => config.clone(),
            _ => content.to_owned(),
        };
        if is_there {
            etc.write("shared/near/nearer/trusted", &content, 0o600);
        }
        match what {
            "drop-in" => {
                fs::create_dir(etc.path("conf.d")).unwrap();
                std::os::unix::fs::symlink(&place, etc.path("conf.d/web.toml")).unwrap();
            }
            "socket" => config = config.replace(&etc.path("kern.log"), &names),
            "secret file" | "list" => config = config.replace("sequence = [7001, 8002]", &names),
            _ => words = names.split(' ').collect(),
        }
        etc.write("logknock.toml", &config, 0o600);
        etc.chmod("", 0o755);

        let is_well = |when: &str| {
            let check = etc.logknock_with(&["check"], &words);
            assert_eq!(
                check.status.code(),
                Some(0),
                "{what} {when}: {}",
                said(&check)
            );
        };
        is_well("in directories of root's");
        etc.chmod("shared", 0o777);
        let swap = "cd \"$0\" && mv near mine && mkdir near && rmdir near && mv mine near";
        let nobody = ["--reuid=65534", "--clear-groups", "sh", "-c", swap];
        let swapped = Command::new("setpriv")
            .args(nobody)
            .arg(etc.path("shared"))
            .status();
        assert!(swapped.unwrap().success(), "others can");
        for program in [&["check"][..], &[]] {
            let refused = etc.logknock_with(program, &words);
            assert_eq!(
                refused.status.code(),
                Some(77),
                "{what} {program:?}: {}",
                said(&refused)
            );
            let (said, shared) = (said(&refused), etc.path("shared"));
            assert!(
                said.contains(&format!("chmod go-w {shared}\n")),
                "{what}: {said}"
            );
        }
        etc.chmod("shared", 0o755);
        is_well("when it is mended");
    }
}
