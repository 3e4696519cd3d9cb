use super::*;

/// What [`run`] does, for the tests, whose own program cannot become a command.
pub(super) const SESSION: &str = "\
import json, os, signal, sys
os.setsid()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
what = json.load(sys.stdin)
os.dup2(os.open('/dev/null', os.O_RDONLY), 0)
for fd in range(3, 256):
    try:
        os.close(fd)
    except OSError:
        pass
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
    let session = Session::start(None).unwrap();
    let Session {
        mut child, order, ..
    } = session;
    drop(order);
    let ended = child.end(std::time::Duration::from_secs(60)).unwrap();
    assert!(!ended.success());
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
