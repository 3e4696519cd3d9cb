//! `user`: commands as somebody else, who has no more rights than that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::daemon::{Daemon, KNOCKER, PORTS, eventually};
use super::need;
use super::processes::descendants;

/// Who is who for the daemon: mounted over the machine's own files, for it alone.
const USERS: &str = "root:x:0:0::/root:/bin/sh\nknock:x:4998:4997::/var/lib/knock:/bin/sh\n";
const GROUPS: &str = "root:x:0:knocker\nadm:x:4004:syslog,knock\nknock:x:4997:\n";

/// A daemon whose door has these keys, where there is a user called `knock`; and a place where that user
/// may write.
fn start(keys: impl Fn(&Path) -> String) -> Option<(Daemon, TempDir)> {
    let is_root = rustix::process::geteuid().is_root();
    if !need::met(is_root, "root") || !need::program("unshare") {
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut daemon = Daemon::start("");
    daemon.stop();
    let (users, groups) = (daemon.dir().join("passwd"), daemon.dir().join("group"));
    fs::write(&users, USERS).unwrap();
    fs::write(&groups, GROUPS).unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && mount --bind {} /etc/group && exec \"$@\"",
        users.display(),
        groups.display()
    );
    daemon.start_by(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    set_door(&daemon, &keys(place.path()));
    daemon.restart();
    Some((daemon, place))
}

fn set_door(daemon: &Daemon, keys: &str) {
    daemon.set_config(&format!(
        "[log]\nprefix = \"lk-4f9a1c7e: \"\n\n[door.ssh]\nsequence = {PORTS:?}\n\
         seq_timeout = \"20s\"\ncmd_timeout = 3600\n{keys}"
    ));
}

/// A command that writes down who it is.
fn who(key: &str, place: &Path) -> String {
    let place = place.display();
    let script = format!(
        "{{ id -u; id -g; id -G; pwd; echo $HOME $USER $LOGNAME; \
           grep -E '^(Cap|NoNewPrivs)' /proc/self/status; }} > {place}/{key}.part && \
         mv {place}/{key}.part {place}/{key}"
    );
    format!("{key} = [\"/bin/sh\", \"-c\", \"{script}\"]\n")
}

fn written(path: &Path) -> String {
    let mut text = None;
    eventually(&path.display().to_string(), || {
        text = fs::read_to_string(path).ok();
        text.is_some()
    });
    text.unwrap()
}

/// What the user `knock` is without any right.
fn assert_is_knock(said: &str) {
    let lines: Vec<_> = said.lines().collect();
    let who = [
        "4998",
        "4997",
        "4997 4004",
        "/",
        "/var/lib/knock knock knock",
    ];
    assert_eq!(lines[..5], who, "{said}");
    let rights: Vec<_> = lines[5..]
        .iter()
        .map(|line| line.split_once(":\t").unwrap())
        .collect();
    assert_eq!(rights.len(), 6, "{said}");
    for (what, value) in rights {
        let expected = if what == "NoNewPrivs" {
            "1"
        } else {
            "0000000000000000"
        };
        assert_eq!(value, expected, "{what}");
    }
}

#[test]
fn a_command_runs_as_its_user_with_that_users_groups_and_no_right() {
    let keys = |place: &Path| {
        let (open, close) = (who("start_command", place), who("stop_command", place));
        let told = who("command", place);
        format!("user = \"knock\"\n{open}{close}[notify]\nuser = \"knock\"\n{told}")
    };
    let Some((daemon, place)) = start(keys) else {
        return;
    };
    daemon.knock(KNOCKER, &PORTS);
    assert_is_knock(&written(&place.path().join("command")));
    assert_is_knock(&written(&place.path().join("start_command")));
    daemon.says(&["close", KNOCKER]);
    assert_is_knock(&written(&place.path().join("stop_command")));
}

#[test]
fn what_a_user_opened_that_user_closes_after_a_crash_whatever_the_config_says_then() {
    let keys = |place: &Path| {
        let commands = ["start_command", "stop_command"].map(|key| who(key, place));
        format!("user = \"knock\"\n{}", commands.concat())
    };
    let Some((mut daemon, place)) = start(keys) else {
        return;
    };
    daemon.knock(KNOCKER, &PORTS);
    // The detector says so before the monitor has it on disk.
    written(&place.path().join("start_command"));
    daemon.kill();
    set_door(
        &daemon,
        "start_command = [\"/bin/true\"]\nstop_command = [\"/bin/false\"]\n",
    );
    daemon.restart();
    daemon.says(&["close", KNOCKER]);
    assert_is_knock(&written(&place.path().join("stop_command")));
}

#[test]
fn a_command_of_another_user_that_takes_too_long_is_ended() {
    let keys = |place: &Path| {
        let script = format!("echo $$ > {}/pid; sleep 600", place.display());
        format!(
            "user = \"knock\"\nstart_command = [\"/bin/sh\", \"-c\", \"{script}\"]\n\
             stop_command = [\"/bin/true\"]\n[daemon]\ncommand_timeout = \"1s\"\n"
        )
    };
    let Some((daemon, place)) = start(keys) else {
        return;
    };
    daemon.knock(KNOCKER, &PORTS);
    let pid = place.path().join("pid");
    eventually("it runs", || {
        fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let process = format!("/proc/{}", fs::read_to_string(&pid).unwrap().trim());
    eventually("it is ended", || !Path::new(&process).exists());
    daemon.await_said("was killed after");
}

#[test]
fn a_command_of_another_user_that_outlived_a_killed_daemon_is_ended() {
    let keys = |place: &Path| outliving(place, "user = \"knock\"");
    let Some((daemon, place)) = start(keys) else {
        return;
    };
    ends_what_outlived_it(daemon, place.path());
}

#[test]
fn a_command_for_which_a_shell_waited_and_that_outlived_a_killed_daemon_is_ended() {
    let place = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start("");
    daemon.stop();
    set_door(&daemon, &outliving(place.path(), ""));
    daemon.restart();
    let pid = place.path().join("pid");
    daemon.knock("198.51.100.8", &PORTS);
    let waits = || shells_that_wait(daemon.pid()) == 1;
    eventually("a command has run, and a shell waits", waits);
    assert!(!pid.exists());
    ends_what_outlived_it(daemon, place.path());
}

fn shells_that_wait(monitor: i32) -> usize {
    let waits = |&pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.starts_with(b"/bin/sh\0-c\0while ")
    };
    descendants(monitor).iter().filter(|pid| waits(pid)).count()
}

/// A door whose open command does not end for [`KNOCKER`].
fn outliving(place: &Path, user: &str) -> String {
    let place = place.display();
    let script = format!("[ %IP% = {KNOCKER} ] || exit 0; echo $$ > {place}/pid; sleep 600");
    format!(
        "{user}\nstart_command = [\"/bin/sh\", \"-c\", \"{script}\"]\nstop_command = \"true\"\n\
         [daemon]\ncommand_timeout = \"1h\"\n"
    )
}

fn ends_what_outlived_it(mut daemon: Daemon, place: &Path) {
    let pid = place.join("pid");
    daemon.knock(KNOCKER, &PORTS);
    eventually("it runs", || {
        fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let process = format!("/proc/{}/stat", fs::read_to_string(&pid).unwrap().trim());
    daemon.kill();
    assert!(Path::new(&process).exists());
    daemon.restart();
    eventually("it is ended", || {
        let stat = fs::read_to_string(&process).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
fn a_missing_right_to_become_a_user_is_an_error_before_a_door_opens() {
    let mut daemon = Daemon::start("");
    daemon.stop();
    set_door(
        &daemon,
        "user = \"nobody\"\nstart_command = [\"/bin/true\"]\nstop_command = [\"/bin/true\"]\n",
    );
    let mut starter: Vec<&str> = Vec::new();
    if rustix::process::geteuid().is_root() {
        if !need::program("setpriv") {
            return;
        }
        starter.extend(["setpriv", "--bounding-set", "-setuid"]);
    }
    let config = daemon.dir().join("logknock.toml");
    let expected = format!(
        "logknock: error: logknock has no right to run a command as 'nobody'\n \
         --> {}:8:8\n  |\n8 | user = \"nobody\"\n  |        ^^^^^^^^\n  |\n  \
         = fix: run logknock as root; in a systemd unit with CAP_SETUID CAP_SETGID CAP_KILL in CapabilityBoundingSet\n",
        config.display()
    );
    let follow = daemon.log();
    for args in [&["check"][..], &["--follow", follow.to_str().unwrap()]] {
        let refused = daemon.asks_by(&starter, args);
        assert_eq!(
            String::from_utf8(refused.stderr).unwrap(),
            expected,
            "{args:?}"
        );
        assert_eq!(refused.status.code(), Some(78), "{args:?}");
    }
    // Who only reads logs needs no right.
    let replayed = daemon.asks_by(&starter, &["replay", follow.to_str().unwrap()]);
    assert_eq!(replayed.status.code(), Some(0));
}
