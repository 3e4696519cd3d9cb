//! What a compromised detector would try, only in test builds and only on request.
//!
//! In: `LOGKNOCK_ATTACK`, in the environment: `1`, or what to say to the monitor. Out: a line on standard
//! error for each try, with what the kernel said; or those messages. A release build has none of it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it tries what is not allowed"
)]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, getppid, kill_process};

/// Tries everything, in vain, if it is to.
pub(super) fn rehearse(state: &Path, config: &Path, log: &Path) {
    match std::env::var("LOGKNOCK_ATTACK").as_deref() {
        Err(_) => return,
        Ok("1") => {}
        Ok(says) => return say(says),
    }
    let write = |path: &Path| {
        let mut options = OpenOptions::new();
        options.append(true).create(true).open(path).map(drop)
    };
    let parent = getppid();
    let memory = parent.map_or(0, |pid| pid.as_raw_nonzero().get());
    let memory = format!("/proc/{memory}/mem");
    let beside = log.with_file_name("planted");
    let kill = |signal| {
        let parent = parent.ok_or(io::ErrorKind::NotFound)?;
        kill_process(parent, signal).map_err(io::Error::from)
    };
    let tries: [(&str, io::Result<()>); 21] = [
        ("read the log", fs::read(log).map(drop)),
        ("read /etc/shadow", fs::read("/etc/shadow").map(drop)),
        ("read the configuration", fs::read(config).map(drop)),
        (
            "read the grants",
            fs::read(state.join("grants.jsonl")).map(drop),
        ),
        ("read the monitor's memory", fs::read(memory).map(drop)),
        ("list the root", fs::read_dir("/").map(drop)),
        ("write the grants", write(&state.join("grants.jsonl"))),
        (
            "remove the grants",
            fs::remove_file(state.join("grants.jsonl")),
        ),
        (
            "remove what the grants are locked with",
            fs::remove_file(state.join("lock")),
        ),
        ("write the log", write(log)),
        ("write next to the log", write(&beside)),
        ("write to /tmp", write(Path::new("/tmp/logknock-attack"))),
        ("remove the log", fs::remove_file(log)),
        (
            "change the mode of the log",
            fs::set_permissions(log, fs::Permissions::from_mode(0o666)),
        ),
        ("spawn", Command::new("/bin/true").spawn().map(drop)),
        (
            "connect by TCP",
            TcpStream::connect("127.0.0.1:9").map(drop),
        ),
        ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("send by UDP", UdpSocket::bind("127.0.0.1:0").map(drop)),
        (
            "connect to a socket of systemd",
            UnixStream::connect("/run/systemd/private").map(drop),
        ),
        ("kill the monitor", kill(Signal::KILL)),
        (
            "become root again",
            rustix::thread::set_thread_uid(rustix::process::Uid::ROOT).map_err(io::Error::from),
        ),
    ];
    for (what, result) in tries {
        let said = match result {
            Ok(()) => "done".to_owned(),
            Err(error) => error
                .raw_os_error()
                .map_or_else(|| error.to_string(), |errno| format!("errno {errno}")),
        };
        // The reader may be gone.
        drop(writeln!(io::stderr(), "attack: {what}: {said}"));
    }
}

/// Says each line of `text` to the monitor, as often as the number in front of its `*` says.
fn say(text: &str) {
    let monitor = io::stdin();
    for line in text.lines() {
        let (times, message) = line.split_once('*').unwrap_or(("1", line));
        for _ in 0..times.parse().unwrap_or(1) {
            if rustix::io::write(&monitor, message.as_bytes()).is_err() {
                return;
            }
        }
    }
}
