//! The running daemon and the commands that ask it: who may, what they may ask, and what they cannot
//! disturb. One real daemon a test, which follows a file.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use logknock::protocol::{self, Phase, Reply, Request, Status, Whose};

use super::daemon::{Daemon, HOLD, KNOCKER, PATIENCE, SECRETS, eventually};
use super::need;

fn knocker() -> IpAddr {
    KNOCKER.parse().unwrap()
}

#[test]
fn a_door_is_opened_and_closed_by_hand() {
    let daemon = Daemon::start("");
    assert_eq!(
        daemon.says(&["open", "ssh", KNOCKER]),
        format!("opened ssh for {KNOCKER}\n")
    );
    daemon.await_command("open", KNOCKER);
    let other = daemon.asks(&["close", "198.51.100.9"]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(
        daemon.says(&["close", KNOCKER, "--json"]),
        "{\"count\":1}\n"
    );
    daemon.await_command("close", KNOCKER);
    daemon.wait_until("it is closed", |status| status.grants.is_empty());
    assert_eq!(daemon.says(&["close", "--all"]), "nothing is open\n");
    let unknown = daemon.asks(&["open", "smtp", KNOCKER]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("no door has this name"), "{said}");
}

#[test]
fn without_a_daemon_the_exit_status_says_so() {
    let mut daemon = Daemon::start("");
    let closed = daemon.stop();
    assert_eq!(closed.code(), Some(0));
    for args in [&["status"][..], &["close", "--all"], &["reload"]] {
        let output = daemon.asks(args);
        assert_eq!(output.status.code(), Some(69), "{args:?}");
    }
    assert!(!daemon.socket().exists());
}

/// For `setpriv`: with no group but the user's own.
const NO_GROUP: &str = "--clear-groups";

/// The exit status of the program when user 65534 runs it with these groups; `None` where that cannot be.
fn exit_as_nobody(groups: &str, args: &[&str]) -> Option<i32> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", groups]);
    command.arg(env!("CARGO_BIN_EXE_logknock")).args(args);
    command.output().ok()?.status.code()
}

fn nobody_may_run_it() -> bool {
    let able = exit_as_nobody(NO_GROUP, &["--version"]) == Some(0);
    need::met(able, "root, setpriv, and a binary that nobody may run")
}

#[test]
fn a_stranger_is_not_permitted() {
    let daemon = Daemon::start("");
    if !nobody_may_run_it() {
        return;
    }
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = daemon.socket().parent().unwrap().to_owned();
    fs::set_permissions(state, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = daemon.socket();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    let ask = ["--control", socket.to_str().unwrap(), "close", "--all"];
    assert_eq!(exit_as_nobody(NO_GROUP, &ask), Some(77));
    // Even where the file would let it.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(exit_as_nobody(NO_GROUP, &ask), Some(77));
    assert!(daemon.asks(&["status"]).status.success());
}

#[test]
fn a_member_of_the_group_is_permitted() {
    let daemon = Daemon::start("group = \"65533\"\n");
    if !nobody_may_run_it() {
        return;
    }
    let socket = daemon.socket();
    for directory in [daemon.dir(), socket.parent().unwrap()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let ask = ["--control", socket.to_str().unwrap(), "status"];
    assert_eq!(exit_as_nobody("--groups=65533", &ask), Some(0));
    assert_eq!(exit_as_nobody(NO_GROUP, &ask), Some(77));
}

#[test]
fn a_thousand_idle_and_slow_clients_disturb_no_knock() {
    let daemon = Daemon::start("");
    raise_the_limit_of_open_files();
    let mut clients = Vec::new();
    for number in 0..1000 {
        let Ok(mut client) = UnixStream::connect(daemon.socket()) else {
            continue;
        };
        if number % 2 == 0 {
            // One byte of a length, and no more. Who is turned away is not there to hear it.
            drop(client.write_all(b"\0"));
        }
        clients.push(client);
    }
    assert!(clients.len() > 900, "{} clients", clients.len());
    let knocked = Instant::now();
    daemon.open();
    let took = knocked.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Those that were let in have to leave after a while, though they are still connected.
    daemon.wait_until("there is room again", |status| status.grants_open == 1);
    drop(clients);
}

fn raise_the_limit_of_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

#[test]
fn garbage_and_endless_requests_are_answered_and_forgotten() {
    let daemon = Daemon::start("");
    let reply = |bytes: &[u8]| {
        let mut client = UnixStream::connect(daemon.socket()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(reply.get(4..).unwrap_or_default()).into_owned()
    };
    let framed = |json: &str| {
        [
            &u32::try_from(json.len()).unwrap().to_be_bytes()[..],
            json.as_bytes(),
        ]
        .concat()
    };
    for (bytes, says) in [
        (vec![0xff; 4], "too long"),
        (65_537_u32.to_be_bytes().to_vec(), "too long"),
        (framed("garbage"), "not understood"),
        (framed(&"[".repeat(65_536)), "not understood"),
        (framed("{\"version\":2,\"body\":\"status\"}"), "version 2"),
        (
            framed("{\"version\":1,\"body\":\"dance\"}"),
            "not understood",
        ),
    ] {
        let reply = reply(&bytes);
        assert!(
            reply.contains("failed") && reply.contains(says),
            "{says}: {reply}"
        );
    }
    for silent in [&b""[..], b"\0\0", b"\0\0\x01\0{"] {
        assert_eq!(reply(silent), "");
    }
    assert!(daemon.asks(&["status"]).status.success());
}

#[test]
fn a_broken_configuration_changes_nothing_and_says_where() {
    let daemon = Daemon::start("");
    let good = daemon.config();
    daemon.set_config(&good.replace("cmd_timeout", "cmd_timeuot"));
    let output = daemon.asks(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("logknock.toml:9:1"), "{said}");
    assert!(said.contains("did you mean 'cmd_timeout'?"), "{said}");
    assert!(
        SECRETS.iter().all(|secret| !said.contains(secret)),
        "{said}"
    );
    let logged = daemon.said();
    assert!(logged.contains("logknock.toml:9:1"), "{logged}");
    assert!(!logged.contains("\\x1b"), "colours: {logged}");
    daemon.open();
}

#[test]
fn what_only_a_start_reads_is_not_reloaded_and_that_is_said() {
    let daemon = Daemon::start("");
    let good = daemon.config();
    for changed in [
        good.replace("[daemon]\n", "[daemon]\non_exit = \"keep\"\n"),
        // The sources of the command line count, whatever is listed.
        good.replace("[log]\n", "[log]\nsources = [\"kmsg\"]\n"),
    ] {
        daemon.set_config(&changed);
        let output = daemon.asks(&["reload"]);
        let said = String::from_utf8(output.stderr).unwrap();
        let is_refused = changed.contains("on_exit");
        assert_eq!(output.status.success(), !is_refused, "{said}");
        assert_eq!(said.contains("systemctl restart logknock"), is_refused);
    }
    daemon.open();
}

#[test]
fn a_grant_keeps_its_old_close_command_over_a_reload() {
    let daemon = Daemon::start("");
    daemon.open();
    let renamed = daemon.config().replace("[door.ssh]", "[door.other]");
    daemon.set_config(&renamed.replace("echo close", "echo wrong"));
    assert_eq!(daemon.says(&["reload"]), "reloaded, 1 door\n");
    let status = daemon.status();
    assert_eq!(
        (&*status.doors[0].name, &*status.grants[0].door),
        ("other", "ssh")
    );
    daemon.says(&["close", "--all"]);
    daemon.await_command("close", KNOCKER);
    assert!(!daemon.commands().contains("wrong"));
}

/// FAULTS of other daemons: a command that asks the daemon which waits for the command.
#[test]
fn a_command_may_ask_the_daemon_that_started_it() {
    let daemon = Daemon::start("");
    let script = format!(
        "{} --control {} status --json > {}",
        env!("CARGO_BIN_EXE_logknock"),
        daemon.socket().display(),
        daemon.dir().join("asked").display(),
    );
    let config = daemon.config();
    daemon.set_config(&config.replace(
        "echo open $LOGKNOCK_IP",
        &format!("{script}; echo open $LOGKNOCK_IP"),
    ));
    daemon.says(&["reload"]);
    daemon.open();
    let asked = fs::read_to_string(daemon.dir().join("asked")).unwrap();
    let status: Status = serde_json::from_str(&asked).unwrap();
    assert_eq!(status.grants[0].phase, Phase::Open);
}

#[test]
fn an_answer_takes_less_than_a_tenth_of_a_second() {
    let daemon = Daemon::start("");
    let took = (0..20).map(|_| {
        let asked = Instant::now();
        protocol::ask(&daemon.socket(), &Request::Status, PATIENCE).unwrap();
        asked.elapsed()
    });
    // The best of some: the machine may be busy with other things.
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn two_daemons_do_not_fight_for_a_socket() {
    let first = Daemon::start("");
    let control = format!("control = \"{}\"\n", first.socket().display());
    let mut second = Daemon::start_unasked(&control);
    second.await_said("another daemon listens there");
    let status = first.status();
    assert_eq!(status.sources[0].source, first.log().to_str().unwrap());
    second.stop();
    assert!(
        first.asks(&["status"]).status.success(),
        "its socket is still there"
    );
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let mut daemon = Daemon::start("");
    daemon.kill();
    if !daemon.socket().exists() {
        // The detector had the time to clean up.
        drop(UnixListener::bind(daemon.socket()).unwrap());
    }
    daemon.restart();
    assert!(daemon.asks(&["status"]).status.success());
}

#[test]
fn time_left_runs_down() {
    let daemon = Daemon::start("");
    daemon.says(&["open", "ssh", KNOCKER]);
    let status = daemon.status();
    let left = status.grants[0].left_seconds;
    assert!((HOLD - 10..=HOLD).contains(&left), "{left}");
    let request = Request::Close(Whose::Of(knocker()));
    let reply = protocol::ask(&daemon.socket(), &request, PATIENCE).unwrap();
    assert_eq!(reply, Reply::Done { count: 1 });
}

#[test]
fn who_asks_a_daemon_that_too_many_ask_is_told_so() {
    let daemon = Daemon::start("");
    let gate = daemon.dir().join("gate");
    let waits = format!(
        "until test -e {}; do sleep 0.1; done; echo open",
        gate.display()
    );
    daemon.set_config(&daemon.config().replace("echo open", &waits));
    daemon.says(&["reload"]);
    // Each waits for the end of its open command. One that came while an earlier client was not forgotten yet may be
    // refused, so there come more until there is no room.
    let mut others = Vec::new();
    eventually("as many ask as there is room for", || {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        let open = Request::Open {
            door: "ssh".to_owned(),
            src: Ipv4Addr::from(0x0a00_0000 + u32::try_from(others.len()).unwrap()).into(),
        };
        // One that is refused may be hung up on before it has asked.
        drop(protocol::write_frame(
            &mut stream,
            &open,
            protocol::MAX_REQUEST,
        ));
        others.push(stream);
        daemon.said().matches("what=\"open\"").count() == 16
    });
    let refused = daemon.asks(&["status"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(
        refused.status.code(),
        Some(75),
        "{said}{}",
        daemon.commands()
    );
    assert_eq!(
        said,
        "logknock: the daemon is busy with other requests; try again\n"
    );
    let doctor = String::from_utf8(daemon.asks(&["doctor"]).stdout).unwrap();
    let row = doctor.lines().find(|line| line.contains(" daemon "));
    assert!(
        row.is_some_and(|row| row.starts_with('?') && row.contains("busy with other requests")),
        "{doctor}"
    );
    fs::write(&gate, "").unwrap();
    let answers = others.iter_mut().map(|stream| {
        let answer: Result<Reply, _> = protocol::read_frame(stream, protocol::MAX_REPLY);
        answer.is_ok_and(|answer| answer == Reply::Done { count: 1 })
    });
    assert_eq!(answers.filter(|is_done| *is_done).count(), 16);
    assert!(daemon.asks(&["status"]).status.success());
}
