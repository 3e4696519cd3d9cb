//! Tests of following: with a journalctl that is a shell script, and shows what a test wants.
#![expect(clippy::disallowed_methods, reason = "the script is a file")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::source::Report;

const PATIENCE: Duration = Duration::from_secs(10);

/// What `script` does when asked for the latest entry (`$1` is `latest`) or to follow from the entry
/// in `$2` on (`$1` is the number of the start). `e CURSOR MESSAGE` shows an entry.
fn journal(dir: &Path, script: &str) -> (Journalctl, Options) {
    let boot = clock::boot_id().unwrap().replace('-', "");
    let text = format!(
        r#"#!/bin/sh
e() {{
    printf '{{"__CURSOR":"%s","_BOOT_ID":"{boot}","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0",' "$1"
    printf '"PRIORITY":"4","_SOURCE_MONOTONIC_TIMESTAMP":"5","MESSAGE":"%s"}}\n' "$2"
}}
cd '{dir}'
case "$*" in
*--lines=1*) set -- latest ;;
*--cursor=*) echo x >>starts; set -- "$(wc -l <starts)" "${{*##*--cursor=}}" ;;
*) echo x >>starts; set -- "$(wc -l <starts)" '' ;;
esac
{script}
"#,
        dir = dir.display()
    );
    let path = dir.join("journalctl");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        witness: None,
        ..Options::new().unwrap()
    };
    (Journalctl::at(path).unwrap(), options)
}

fn follow(
    (journalctl, options): (Journalctl, Options),
) -> Result<(Handle, Receiver<Report>), Refusal> {
    let (sender, reports) = channel();
    let start = Box::new(move |wanted: &_| journalctl.start(wanted));
    let handle = spawn(0, start, options, move |report| {
        sender.send(report).map_err(|_| Closed)
    })?;
    Ok((handle, reports))
}

/// What is reported, in short, until `last` is; that it follows is left out unless it is the last.
fn told_until(reports: &Receiver<Report>, last: &str) -> Vec<String> {
    let mut told = Vec::new();
    while told.last().map(String::as_str) != Some(last) {
        let report = reports.recv_timeout(PATIENCE);
        match report.unwrap_or_else(|_| panic!("no '{last}' after {told:?}")) {
            Report::Lines(batch) => {
                let text = String::from_utf8(batch.bytes).unwrap();
                told.extend(text.lines().map(|line| line.replace("4,0,5,-;", "")));
            }
            Report::Rejected { reason, .. } => told.push(reason.as_str().to_owned()),
            Report::Lost { .. } => told.push("lost".to_owned()),
            Report::Ended
            | Report::Packets { .. }
            | Report::Read { .. }
            | Report::Overflowed { .. }
            | Report::Unproven { .. } => {
                panic!("the journal has no end and is no file")
            }
            Report::Health(health) => told.push(match health {
                Health::Following if last != "following" => continue,
                Health::Following => "following".to_owned(),
                Health::Degraded(Trouble::Ended(Some(status))) => format!("{status}"),
                Health::Degraded(trouble) => format!("{trouble:?}"),
            }),
        }
    }
    told
}

#[test]
fn what_the_latest_entry_says_is_not_new() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"e c1 old; [ "$1" = latest ] || { e c2 new; exec sleep 60; }"#,
    );
    let (handle, reports) = follow(options).unwrap();
    assert_eq!(told_until(&reports, "new"), ["new"]);
    handle.stop();
}

#[test]
fn a_journalctl_that_ends_is_started_again_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"case "$1/$2" in
latest/*) e c1 old ;;
1/c1) e c1 old; e c2 two; exit 1 ;;
2/c2) e c2 two; e c3 three; kill -9 $$ ;;
3/c3) e c3 three; e c4 four; exec sleep 60 ;;
esac"#,
    );
    let (handle, reports) = follow(options).unwrap();
    assert_eq!(
        told_until(&reports, "four"),
        [
            "two",
            "exit status: 1",
            "three",
            "signal: 9 (SIGKILL)",
            "four"
        ]
    );
    handle.stop();
}

#[test]
fn a_restart_at_another_entry_may_have_lost_some() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"case "$1/$2" in
latest/*) e c1 old ;;
1/c1) e c1 old; e c2 two; exit 0 ;;
*) e c7 seven; exec sleep 60 ;;
esac"#,
    );
    let (handle, reports) = follow(options).unwrap();
    assert_eq!(
        told_until(&reports, "seven"),
        ["two", "exit status: 0", "lost", "seven"]
    );
    handle.stop();
}

#[test]
fn an_empty_journal_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"[ "$1" = latest ] || { until [ -e go ]; do sleep 0.01; done; e c1 one; exec sleep 60; }"#,
    );
    let (handle, reports) = follow(options).unwrap();
    assert_eq!(
        told_until(&reports, "NoKernelMessages"),
        ["NoKernelMessages"]
    );
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(told_until(&reports, "following"), ["one", "following"]);
    assert_eq!(
        fs::read_to_string(dir.path().join("starts")).unwrap(),
        "x\n"
    );
    handle.stop();
}

#[test]
fn a_journalctl_that_hangs_is_replaced_by_one_that_begins_at_the_latest_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = journal(
        dir.path(),
        r#"case "$1/$2" in
latest/*) [ -e stuck ] && e c9 nine || e c1 one ;;
1/c1) e c1 one; e c2 two; : >stuck; exec sleep 60 ;;
2/c9) e c9 nine; until [ -e go ]; do sleep 0.01; done; e c10 ten; exec sleep 60 ;;
esac"#,
    );
    options.1.silence = Duration::from_millis(50);
    let (handle, reports) = follow(options).unwrap();
    assert_eq!(told_until(&reports, "Stuck"), ["two", "lost", "Stuck"]);
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(told_until(&reports, "following"), ["ten", "following"]);
    handle.stop();
}

#[test]
fn a_quiet_journal_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = journal(
        dir.path(),
        r#"if [ "$1" = latest ]; then echo x >>looks; e c1 one; exit; fi
e c1 one; until [ -e go ]; do sleep 0.01; done; e c2 two; exec sleep 60"#,
    );
    options.1.silence = Duration::from_millis(20);
    let (handle, reports) = follow(options).unwrap();
    let looks = || fs::read_to_string(dir.path().join("looks")).unwrap().len();
    assert_eq!(told_until(&reports, "following"), ["following"]);
    let limit = clock::monotonic_now().after(PATIENCE);
    while looks() < 10 {
        assert!(clock::monotonic_now() < limit, "it is not looked after");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(told_until(&reports, "two"), ["two"]);
    assert_eq!(
        fs::read_to_string(dir.path().join("starts")).unwrap(),
        "x\n"
    );
    handle.stop();
}

#[test]
fn a_journalctl_that_fails_on_a_broken_file_is_started_again_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"case "$1/$2" in
latest/*) e c1 old ;;
1/c1) e c1 old; e c2 two; echo 'Failed to iterate through journal: Bad message' >&2; exit 1 ;;
2/c2) echo 'Failed to iterate through journal: Bad message' >&2; exit 1 ;;
3/c2) e c2 two; e c3 three; exec sleep 60 ;;
esac"#,
    );
    let (handle, reports) = follow(options).unwrap();
    assert_eq!(
        told_until(&reports, "three"),
        ["two", "exit status: 1", "three"],
        "nothing is lost or reported twice"
    );
    handle.stop();
}

#[test]
fn a_malformed_entry_is_counted_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"[ "$1" = latest ] && exit
echo 'Hint: something else'
head -c 2000000 /dev/zero | tr '\0' x; echo
e c1 one; exec sleep 60"#,
    );
    let (handle, reports) = follow(options).unwrap();
    let mut told = told_until(&reports, "following");
    told.sort();
    assert_eq!(told, ["following", "grammar", "one", "too_long"]);
    handle.stop();
}

#[test]
fn a_journal_that_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |script| follow(journal(dir.path(), script)).err().unwrap();
    let denied = "echo No journal files were opened due to insufficient permissions. >&2; exit 1";
    let denied = refusal(denied);
    assert!(matches!(denied, Refusal::JournalDenied), "{denied}");
    assert!(
        denied.kind() == super::super::RefusalKind::Permission
            && denied.to_string().contains("systemd-journal")
    );
    let broken = refusal("echo unrecognized option >&2; exit 1");
    assert!(matches!(broken, Refusal::Journalctl(said) if said == "unrecognized option"));
    let missing = Journalctl::at(dir.path().join("none")).unwrap();
    let missing = (missing, Options::new().unwrap());
    assert!(matches!(follow(missing), Err(Refusal::JournalctlMissing)));
}

#[test]
fn a_stop_ends_journalctl_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal(
        dir.path(),
        r#"[ "$1" = latest ] && exit; echo $$ >pid; e c1 one; exec sleep 60"#,
    );
    let (handle, reports) = follow(options).unwrap();
    told_until(&reports, "following");
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    handle.stop();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
}
