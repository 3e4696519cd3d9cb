//! What a source may be believed, by its kind, its prefix, its owner and its mode.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::config;

const SECRET: &str = "lk-4f9a1c7e: ";

fn log(prefix: &str, accept: &str) -> Config {
    let text = format!(
        "[log]\n{prefix}{accept}\n[door.ssh]\nsequence = [7001, 8002]\nstart_command = [\"true\"]\n"
    );
    config::parse("test.toml", &text).unwrap()
}

fn secret() -> Config {
    log(&format!("prefix = \"{SECRET}\"\n"), "")
}

/// This machine, without its switches.
fn machine() -> Machine {
    Machine {
        logs_all_netns: false,
        shows_kernel_log: false,
        can_read_kmsg: false,
        ..Machine::look()
    }
}

fn graded(log: &Config, source: &str) -> Trust {
    grade(log, &[source.parse().unwrap()], &machine()).remove(0)
}

/// A directory that everybody can enter, with a log file.
struct Place(TempDir);

impl Place {
    fn new(mode: u32) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.chmod("", 0o755);
        drop(
            tempfile::NamedTempFile::new_in(place.0.path())
                .unwrap()
                .persist(place.path("kern.log"))
                .unwrap(),
        );
        place.chmod("kern.log", mode);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// What is said of the file called `name`, `Err` when the daemon refuses for it.
    fn said_of(&self, log: &Config, name: &str) -> Result<Vec<String>, Vec<String>> {
        let trust = graded(log, self.path(name).to_str().unwrap());
        let directory = self.0.path().display().to_string();
        let words = |finding: &Finding| {
            let said = finding.diagnostic.to_string().replace(&directory, "DIR");
            said.lines().map(str::trim).collect::<Vec<_>>().join(" / ")
        };
        let said = trust.findings.iter().map(words).collect();
        if trust.findings.iter().any(Finding::is_error) {
            return Err(said);
        }
        Ok(said)
    }
}

#[test]
fn the_kernels_own_transports_need_a_prefix_that_may_be_known() {
    for source in ["kmsg", "journald"] {
        for prefix in ["prefix = \"KNOCK: \"\n", "prefix = \"lk-4f9a1c7e: \"\n"] {
            let trust = graded(&log(prefix, ""), source);
            assert_eq!(trust.grade, Grade::Kernel);
            assert!(trust.findings.is_empty());
        }
        let trust = graded(&log("", ""), source);
        assert_eq!(trust.grade, Grade::Forgeable);
        assert!(trust.findings[0].is_error(), "{source}");
        let accepted = graded(&log("", "accept_forgeable = true\n"), source);
        assert!(accepted.findings.is_empty());
    }
}

#[test]
fn a_knockd_conf_without_a_prefix_is_refused_in_its_own_words() {
    let text = "[A]\nsequence = 7001,8002\ntcpflags = syn\ncommand = /bin/x\n";
    let config = config::parse("knockd.conf", text).unwrap();
    for source in ["kmsg", "/nowhere/kern.log"] {
        let trust = graded(&config, source);
        assert!(trust.findings[0].is_error());
        let said = trust.findings[0].diagnostic.to_string();
        assert!(said.contains("#logknock: prefix-file = "), "{said}");
        assert!(!said.contains("[log]") && !said.contains("[door"), "{said}");
    }
}

#[test]
fn a_socket_in_a_directory_that_others_can_write_is_refused() {
    let place = Place::new(0o600);
    let socket = |place: &Place| format!("unix:{}", place.path("syslog").display());
    assert!(graded(&secret(), &socket(&place)).findings.is_empty());
    for mode in [0o777, 0o1777] {
        place.chmod("", mode);
        assert!(graded(&secret(), &socket(&place)).findings[0].is_error());
    }
}

#[test]
fn records_whose_directory_is_not_there_are_warned_about() {
    let text = "[options]\nLogFile = /nowhere/at/all/knockd.log\n[A]\nsequence = 7001,8002\ntcpflags = syn\ncommand = /bin/x\n";
    let config = config::parse("knockd.conf", text).unwrap();
    let found = records_nowhere(&config.daemon).remove(0);
    assert!(!found.is_error());
    let said = found.diagnostic.to_string();
    assert!(said.contains("--> /nowhere/at/all/knockd.log"), "{said}");
    assert!(said.ends_with("= fix: mkdir -p /nowhere/at/all"), "{said}");
}

#[test]
fn every_other_source_needs_a_secret_prefix() {
    for source in ["-", "unix:/run/x", "udp:127.0.0.1:514", "/nowhere/kern.log"] {
        assert_eq!(graded(&secret(), source).grade, Grade::Secret, "{source}");
        for prefix in ["", "prefix = \"KNOCK: \"\n"] {
            let trust = graded(&log(prefix, ""), source);
            assert_eq!(trust.grade, Grade::Forgeable);
            assert!(trust.findings[0].is_error(), "{source}");
            assert_eq!(trust.findings[0].kind, ErrorKind::Invalid);
        }
    }
}

#[test]
fn a_refusal_says_why_and_gives_every_way_out() {
    let said = |prefix, source| {
        graded(&log(prefix, ""), source).findings[0]
            .diagnostic
            .to_string()
    };
    let file = said("", "/nowhere/kern.log");
    for words in [
        "any local user can write lines",
        "--> /nowhere/kern.log",
        "no log prefix is configured",
        "od -An -N4 -tx1 /dev/urandom",
        "$inputname == \"imklog\" and $syslogfacility == 0",
        "FileCreateMode=\"0600\"",
        "accept_forgeable = true",
    ] {
        assert!(file.contains(words), "'{words}' is not in {file}");
    }
    let guessable = said("prefix = \"KNOCK: \"\n", "udp:[::1]:514");
    assert!(guessable.contains("the log prefix can be guessed"));
    assert!(!guessable.contains("imklog") && !guessable.contains("KNOCK"));
}

#[test]
fn a_format_without_a_group_for_the_prefix_makes_no_use_of_a_secret() {
    let format = |groups: &str| {
        let regex = format!(r"^{groups}(?<proto>\S+) (?<src>\S+) (?<dpt>\S+)$");
        log(
            &format!("prefix = \"{SECRET}\"\nformat.regex = '{regex}'\n"),
            "",
        )
    };
    assert_eq!(
        graded(&format(r"(?<prefix>\S+ )"), "-").grade,
        Grade::Secret
    );
    let trust = graded(&format(""), "-");
    assert_eq!(trust.grade, Grade::Forgeable);
    let said = trust.findings[0].diagnostic.to_string();
    assert!(said.contains("no group 'prefix'"), "{said}");
}

#[test]
fn what_the_operator_accepts_is_forgeable_and_followed() {
    let accepted = log("", "accept_forgeable = true\n");
    let trust = graded(&accepted, "/nowhere/kern.log");
    assert_eq!(trust.grade, Grade::Forgeable);
    assert!(trust.findings.is_empty());
}

#[test]
fn a_log_that_only_its_owner_and_a_group_read_is_fine() {
    for mode in [0o600, 0o640] {
        assert_eq!(Place::new(mode).said_of(&secret(), "kern.log"), Ok(vec![]));
    }
}

#[test]
fn a_secret_that_everybody_can_read_is_a_warning_with_its_fix() {
    let place = Place::new(0o644);
    let said = "warning: can be read by everybody, so the log prefix in it is not secret \
                / --> DIR/kern.log / = fix: chmod 0640 DIR/kern.log";
    assert_eq!(
        place.said_of(&secret(), "kern.log"),
        Ok(vec![said.to_owned()])
    );
    place.chmod("", 0o700);
    assert_eq!(
        place.said_of(&secret(), "kern.log"),
        Ok(vec![]),
        "nobody gets there"
    );
}

#[test]
fn a_log_that_others_can_write_is_refused_unless_accepted() {
    for mode in [0o602, 0o666] {
        let place = Place::new(mode);
        let said = place.said_of(&secret(), "kern.log").unwrap_err().remove(0);
        assert!(said.contains("is writable by other users"), "{said}");
        assert!(said.ends_with("= fix: chmod go-w DIR/kern.log"), "{said}");
        let accepted = log(
            &format!("prefix = \"{SECRET}\"\n"),
            "accept_forgeable = true\n",
        );
        assert!(place.said_of(&accepted, "kern.log").is_ok());
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused_unless_it_is_sticky() {
    let place = Place::new(0o600);
    place.chmod("", 0o777);
    let said = place.said_of(&secret(), "kern.log").unwrap_err().remove(0);
    assert!(said.contains("is writable by other users"), "{said}");
    assert!(said.contains("--> DIR /"), "{said}");
    place.chmod("", 0o1777);
    assert_eq!(place.said_of(&secret(), "kern.log"), Ok(vec![]));
}

#[test]
fn in_a_sticky_directory_a_log_that_is_not_there_yet_is_a_warning() {
    let place = Place::new(0o600);
    place.chmod("", 0o1777);
    let said = place.said_of(&secret(), "later.log").unwrap().remove(0);
    assert!(said.contains("does not exist yet"), "{said}");
    place.chmod("", 0o755);
    assert_eq!(place.said_of(&secret(), "later.log"), Ok(vec![]));
}

#[test]
fn a_symlink_is_refused_only_where_others_could_change_it() {
    let (place, real) = (Place::new(0o600), Place::new(0o600));
    symlink(real.path("kern.log"), place.path("link")).unwrap();
    assert_eq!(place.said_of(&secret(), "link"), Ok(vec![]));
    real.chmod("", 0o777);
    assert!(place.said_of(&secret(), "link").is_err(), "where it leads");
    real.chmod("", 0o755);
    place.chmod("", 0o1777);
    let said = place.said_of(&secret(), "link").unwrap_err().remove(0);
    assert!(said.contains("is a symlink in a directory"), "{said}");
    assert!(said.contains("--> DIR/link /"), "{said}");
}

#[test]
fn syslogs_own_group_and_user_are_trusted_with_logs() {
    let place = Place::new(0o660);
    let path = place.path("kern.log");
    let found = path.metadata().unwrap();
    let (uid, gid) = (
        std::os::unix::fs::MetadataExt::uid(&found),
        std::os::unix::fs::MetadataExt::gid(&found),
    );
    let with = |uid, gid| {
        let machine = Machine {
            log_owners: vec![0, uid],
            log_groups: vec![gid],
            ..machine()
        };
        flaws(&SourceSpec::File(path.clone()), &machine)
    };
    assert_eq!(with(uid, gid), []);
    assert_eq!(with(uid, gid + 1), [Flaw::Writable(path.clone())]);
}

#[test]
fn a_log_of_an_unexpected_owner_is_refused() {
    let place = Place::new(0o600);
    if chown(place.path("kern.log"), Some(65_534), None).is_err() {
        // Only root can give files away; `rights_test` shows it without.
        return;
    }
    let said = place.said_of(&secret(), "kern.log").unwrap_err().remove(0);
    assert!(said.contains("belongs to uid 65534"), "{said}");
    assert!(said.ends_with("= fix: chown root DIR/kern.log"), "{said}");
}

#[test]
fn a_state_directory_that_others_can_write_is_refused_whatever_is_accepted() {
    let place = Place::new(0o600);
    assert!(state_dir(place.0.path()).is_empty());
    assert!(state_dir(&place.path("later")).is_empty());
    place.chmod("", 0o770);
    assert!(state_dir(place.0.path())[0].is_error());
}

#[test]
fn kmsg_is_recommended_where_it_can_be_read() {
    let advice = |can_read_kmsg| {
        let machine = Machine {
            can_read_kmsg,
            ..machine()
        };
        grade(&log("", ""), &["journald".parse().unwrap()], &machine)[0].advice
    };
    assert!(advice(true).unwrap().contains("kmsg"));
    assert_eq!(advice(false), None);
}

/// Nothing is said of one machine, and of the other a warning with all the words.
fn is_warned_of(findings: [Option<Finding>; 2], words: [&str; 2]) {
    let [nothing, warning] = findings;
    assert!(nothing.is_none());
    let warning = warning.unwrap();
    assert!(!warning.is_error());
    let said = warning.diagnostic.to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn a_kernel_that_logs_for_containers_is_a_warning() {
    let finding = |logs_all_netns| {
        super::machine(&Machine {
            logs_all_netns,
            ..machine()
        })
    };
    let words = ["containers", "nf_log_all_netns=0"];
    is_warned_of([false, true].map(finding), words);
}

#[test]
fn a_kernel_that_shows_its_log_to_everybody_is_a_warning() {
    let finding = |shows_kernel_log| {
        readers(&Machine {
            shows_kernel_log,
            ..machine()
        })
    };
    let words = ["log prefix", "dmesg_restrict=1"];
    is_warned_of([false, true].map(finding), words);
}
