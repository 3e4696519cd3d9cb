use std::time::Duration;

use super::*;

/// What [`run`] does, for the tests, whose own program cannot become a command.
pub(super) const SESSION: &str = "\
import json, os, signal, sys
os.setsid()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for fd in range(3, 256):
    try:
        os.close(fd)
    except OSError:
        pass
if sys.argv[1:]:
    os.execve('/bin/sh', ['/bin/sh', '-c', sys.argv[1]], {})
what = json.load(sys.stdin)
os.dup2(os.open('/dev/null', os.O_RDONLY), 0)
try:
    os.execve(what['path'], what['argv'], dict(what['env']))
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(126)";

fn account(uid: u32, gid: u32, groups: &[u32]) -> Account {
    Account {
        name: "somebody".into(),
        uid,
        gid,
        groups: groups.into(),
        home: "/".into(),
    }
}

#[test]
fn a_number_that_changes_nothing_is_refused() {
    for account in [
        account(u32::MAX, 0, &[0]),
        account(0, u32::MAX, &[0]),
        account(0, 0, &[0, u32::MAX]),
    ] {
        let refused = become_account(&account).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{account:?}");
    }
}

#[test]
fn a_session_that_is_not_told_a_command_ends() {
    for script in [None, Some(WAIT)] {
        let session = Session::start(None, script).unwrap();
        let Session {
            mut child, order, ..
        } = session;
        drop(order);
        assert!(child.end(Duration::from_secs(60)).is_some(), "{script:?}");
    }
}

fn script(script: &str, env: &[(&str, &str)]) -> Becomes {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Becomes {
        path: "/bin/sh".into(),
        argv: ["/bin/sh", "-c", script].map(Into::into).into(),
        env: env.iter().map(owned).collect(),
        account: None,
    }
}

/// What it says, and its exit status.
fn outcome((mut child, output): (Child, PipeReader)) -> (String, Option<i32>) {
    let status = child.wait().unwrap();
    let mut said = String::new();
    let _ = (&output).read_to_string(&mut said);
    (said, status.code())
}

#[test]
fn a_shell_that_waited_runs_a_script_as_one_that_did_not() {
    let values = [
        ("PATH", "/usr/bin:/bin"),
        ("LOGKNOCK_DOOR", "it's $(id) `id` \"a\" \\n \\"),
        ("LOGKNOCK_IN", "  eth0 * "),
        ("LOGKNOCK_EMPTY", ""),
    ];
    for text in [
        "env | grep -v ^_= | sort; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; exit 3",
        "echo $0 $# $-; pwd; set | grep -c pair; ps -o sid= -p $$ | grep -c $$",
        "# a comment\nfalse",
        "\n\ncat <<END\n$LOGKNOCK_DOOR|$LOGKNOCK_IN|\nEND",
        "read -r line; echo $? $line",
        "exec sh -c 'echo $LOGKNOCK_IN'",
        "kill -TERM $$",
        "echo 'one\ntwo' \\",
        "if",
    ] {
        let what = script(text, &values);
        let given = what.script().unwrap();
        let waited = Session::start(None, Some(WAIT)).unwrap();
        let waited = outcome(waited.run(given.as_bytes()).unwrap());
        let order = serde_json::to_vec(&what).unwrap();
        let begun = outcome(Session::start(None, None).unwrap().run(&order).unwrap());
        // In its messages the shell names the file that it reads.
        let said = waited.0.replace("/proc/self/fd/0: ", "");
        assert_eq!((said, waited.1), begun, "{text}");
    }
}

#[test]
fn what_a_waiting_shell_cannot_run_alike_is_not_given_to_it() {
    let long = "x".repeat(PIPE_BUF);
    let shell = script("true", &[]);
    assert!(shell.script().is_some());
    let other = Account {
        uid: geteuid().as_raw() + 1,
        ..account(0, 0, &[])
    };
    for what in [
        script(&format!(": {long}"), &[]),
        script("true", &[("LOGKNOCK_IN", "eth0\n")]),
        script("true", &[("LOGKNOCK_IN", "eth0\nPATH=/tmp")]),
        script("true", &[("LOGKNOCK_IN", "eth\0")]),
        Becomes {
            account: Some(other),
            ..script("true", &[])
        },
        Becomes {
            argv: vec!["/bin/bash".into(), "-c".into(), "true".into()],
            ..script("", &[])
        },
        Becomes {
            argv: vec!["/bin/sh".into(), "-e".into(), "true".into()],
            ..script("", &[])
        },
    ] {
        assert_eq!(what.script(), None, "{what:?}");
    }
}

#[test]
fn a_script_is_run_where_the_shell_that_waited_for_it_was_killed() {
    let mut sessions = Sessions::default();
    sessions.prepare();
    let shell = sessions.shell.as_mut().unwrap();
    let _ = shell.child.end(Duration::ZERO);
    let run = sessions.run(&script("echo here", &[])).unwrap();
    assert_eq!(outcome(run), ("here\n".to_owned(), Some(0)));
}

#[test]
fn a_command_longer_than_a_pipe_is_run_too() {
    let long = "x".repeat(100_000);
    let what = Becomes {
        path: "/bin/sh".into(),
        argv: vec!["sh".into(), "-c".into(), ": $0; exit 7".into(), long],
        env: Vec::new(),
        account: None,
    };
    let (mut child, _output) = Sessions::default().run(&what).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}
