//! `[notify]`: the real daemon tells a command what happens, and no door waits for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::daemon::{Daemon, KNOCKER, PORTS, SECRETS, eventually};
use super::need;

const OTHER: &str = "198.51.100.9";

/// A daemon that has this shell script told; `DIR` in it is the daemon's directory.
fn start(script: &str) -> Daemon {
    let mut daemon = Daemon::start("stop_timeout = \"5s\"\n");
    let script = script.replace("DIR", &daemon.dir().display().to_string());
    let command = format!("[\"/bin/sh\", \"-c\", '{script}', \"sh\", \"two words\"]");
    daemon.stop();
    daemon.set_config(&format!(
        "{}[notify]\ncommand = {command}\n",
        daemon.config()
    ));
    daemon.restart();
    daemon
}

/// Has it write each event with its environment into a file of its own.
fn recording() -> Daemon {
    start("{ echo ARG=$1; env; } >DIR/part; mv DIR/part DIR/$LOGKNOCK_EVENT")
}

/// What the command was told of this event.
fn told(daemon: &Daemon, event: &str) -> BTreeMap<String, String> {
    let path = daemon.dir().join(event);
    eventually(&format!("{event} is told\n{}", daemon.said()), || {
        path.exists()
    });
    let text = fs::read_to_string(path).unwrap();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{text}");
    }
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn count(daemon: &Daemon, name: &str) -> usize {
    let text = fs::read_to_string(daemon.dir().join(name));
    text.unwrap_or_default().lines().count()
}

#[test]
fn an_open_is_passed_by_arguments_and_variables_without_a_secret() {
    let daemon = recording();
    daemon.open();
    let told = told(&daemon, "open");
    assert_eq!(told["ARG"], "two words");
    assert_eq!(told["LOGKNOCK_DOOR"], "ssh");
    assert_eq!(told["LOGKNOCK_IP"], KNOCKER);
    let message = &told["LOGKNOCK_MESSAGE"];
    assert!(
        message.ends_with("a door was opened; door ssh; ip 203.0.113.7"),
        "{message}"
    );
    let ours = told.keys().filter(|name| name.starts_with("LOGKNOCK_"));
    let expected = ["DOOR", "EVENT", "HOST", "IP", "MESSAGE", "MISSED"];
    assert!(
        ours.eq(&expected.map(|name| format!("LOGKNOCK_{name}"))),
        "{told:?}"
    );
}

#[test]
fn a_close_that_fails_again_and_again_and_a_lost_source_are_told_once() {
    let mut daemon = recording();
    let config = daemon.config();
    daemon.set_config(&config.replace("echo close", "false; exit 1; echo close"));
    daemon.says(&["reload"]);
    daemon.open();
    daemon.asks(&["close", KNOCKER]);
    assert_eq!(told(&daemon, "close_failed")["LOGKNOCK_IP"], KNOCKER);
    fs::remove_file(daemon.dir().join("close_failed")).unwrap();
    daemon.wait_until("it is tried again", |status| {
        status.grants.iter().any(|grant| grant.failed > 1)
    });
    fs::remove_file(daemon.log()).unwrap();
    let source = &told(&daemon, "source_lost")["LOGKNOCK_SOURCE"];
    assert_eq!(*source, daemon.log().display().to_string());
    daemon.stop();
    assert!(!daemon.dir().join("close_failed").exists());
}

#[test]
fn a_command_that_hangs_holds_up_no_open_and_no_close() {
    let mut daemon = start("echo begun >>DIR/begun; exec sleep 600");
    daemon.open();
    eventually("it hangs", || count(&daemon, "begun") == 1);
    daemon.knock(OTHER, &PORTS);
    daemon.await_command("open", OTHER);
    daemon.says(&["close", "--all"]);
    daemon.await_command("close", KNOCKER);
    daemon.await_command("close", OTHER);
    assert_eq!(count(&daemon, "begun"), 1, "one runs at a time");
    assert!(daemon.stop().success());
}

#[test]
fn a_command_that_fails_is_reported_once_and_told_all_the_same() {
    let mut daemon = start("echo begun >>DIR/begun; exit 3");
    daemon.open();
    daemon.knock(OTHER, &PORTS);
    eventually("both are told", || count(&daemon, "begun") == 2);
    daemon.stop();
    let said = daemon.said();
    assert_eq!(
        said.matches("the notify command failed").count(),
        1,
        "{said}"
    );
}

#[test]
fn only_requested_events_are_reported() {
    let mut daemon = recording();
    let config = daemon.config();
    daemon.set_config(&format!("{config}on = [\"close_failed\"]\n"));
    daemon.says(&["reload"]);
    daemon.open();
    daemon.stop();
    assert!(!daemon.dir().join("open").exists());
}

/// One of the packaged examples, told of an open.
fn example(name: &str, argument: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples");
    let mut command = Command::new(path.join(name));
    command.arg(argument).env("LOGKNOCK_EVENT", "open");
    command
        .env("LOGKNOCK_HOST", "gw")
        .env("LOGKNOCK_DOOR", "ssh");
    command.env("LOGKNOCK_IP", KNOCKER);
    command.env("LOGKNOCK_MESSAGE", "it's \"open\" $(id)");
    command
}

#[test]
fn the_example_for_mail_gives_a_message_to_sendmail() {
    let dir = tempfile::tempdir().unwrap();
    let sendmail = dir.path().join("sendmail");
    let mail = dir.path().join("mail");
    let script = format!("#!/bin/sh\n{{ echo \"$@\"; cat; }} >{}\n", mail.display());
    fs::write(&sendmail, script).unwrap();
    fs::set_permissions(&sendmail, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let status = example("notify-mail", "a@example.org")
        .env("PATH", path)
        .status();
    assert!(status.unwrap().success());
    let mail = fs::read_to_string(mail).unwrap();
    let head = "-i -- a@example.org\nTo: a@example.org\nSubject: it's \"open\" $(id)\n\n";
    assert!(mail.starts_with(head), "{mail}");
    assert!(
        mail.ends_with("door: ssh\naddress: 203.0.113.7\nsource: -\n"),
        "{mail}"
    );
}

#[test]
fn the_example_for_a_webhook_posts_the_message() {
    if !need::program("curl") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("webhook");
    let url = format!("url = \"http://{}/gw\"\n", listener.local_addr().unwrap());
    fs::write(&config, url).unwrap();
    let mut curl = example("notify-webhook", config.to_str().unwrap());
    let curl = curl.env("NO_PROXY", "*").spawn();
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"$(id)") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .unwrap();
    drop(stream);
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("POST /gw HTTP/1.1\r\n"), "{request}");
    assert!(
        request.ends_with("\r\n\r\nit's \"open\" $(id)"),
        "{request}"
    );
    assert!(curl.unwrap().wait().unwrap().success());
}
