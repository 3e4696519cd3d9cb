//! A real daemon in a directory of its own, with a log to write to and commands that say what they do.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use ::logknock::clock;
use ::logknock::protocol::{self, Reply, Request, Status};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{logknock, processes};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Who knocks in most tests.
pub(crate) const KNOCKER: &str = "203.0.113.7";
/// What its door wants.
pub(crate) const PORTS: [u16; 3] = [7101, 8202, 9303];
/// What must never be told: these ports, and its prefix.
pub(crate) const SECRETS: [&str; 4] = ["7101", "8202", "9303", "4f9a1c7e"];
/// How long a door stays open, in seconds.
pub(crate) const HOLD: u64 = 3600;

/// Waits until `done`.
pub(crate) fn eventually(what: &str, done: impl FnMut() -> bool) {
    logknock::eventually(done, || what.to_owned());
}

pub(crate) struct Daemon {
    dir: TempDir,
    child: Child,
    notify: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    /// What it follows beside its log.
    also: Vec<PathBuf>,
    /// What starts it, if not we.
    starter: Vec<String>,
    /// What its detector is to do as if somebody had taken it over.
    attack: Option<String>,
    /// The packets so far: each has an ID of its own.
    packets: std::cell::Cell<u16>,
}

impl Daemon {
    /// One that follows its log and answers, with these keys in `[daemon]`.
    pub(crate) fn start(keys: &str) -> Self {
        let mut daemon = Self::prepared(keys);
        daemon.restart();
        daemon
    }

    /// One that follows its log; whether it answers is not looked at.
    pub(crate) fn start_unasked(keys: &str) -> Self {
        let mut daemon = Self::prepared(keys);
        daemon.spawn();
        daemon.await_said("following");
        daemon
    }

    /// One with a service manager that listens.
    pub(crate) fn start_under_systemd(watchdog: Option<Duration>) -> Self {
        let mut daemon = Self::prepared("");
        let notify = UnixDatagram::bind(daemon.dir().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        (daemon.notify, daemon.watchdog) = (Some(notify), watchdog);
        daemon.spawn();
        daemon.await_notice("READY=1");
        daemon
    }

    /// One whose detector tries what somebody would who has taken it over.
    pub(crate) fn start_attacked() -> Self {
        let mut daemon = Self::prepared("");
        daemon.attack = Some("1".to_owned());
        daemon.restart();
        daemon
    }

    /// The same, where each detector says these messages to the monitor, one a line, before it follows. Not
    /// waited for.
    pub(crate) fn start_lied_to(keys: &str, messages: &str) -> Self {
        let mut daemon = Self::prepared(keys);
        daemon.attack = Some(messages.to_owned());
        daemon.spawn();
        daemon
    }

    fn prepared(keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("commands");
        let command = |word| {
            let script = format!("echo {word} $LOGKNOCK_IP >> {}", said.display());
            format!("[\"/bin/sh\", \"-c\", \"{script}\"]")
        };
        let config = format!(
            "[log]\nprefix = \"lk-4f9a1c7e: \"\n\n\
             [door.ssh]\nsequence = {PORTS:?}\n\
             start_command = {}\nstop_command = {}\nseq_timeout = \"20s\"\n\
             cmd_timeout = {HOLD}\n\n[daemon]\n{keys}",
            command("open"),
            command("close"),
        );
        let child = Command::new("true").spawn().unwrap();
        let daemon = Self {
            dir,
            child,
            notify: None,
            watchdog: None,
            also: Vec::new(),
            starter: Vec::new(),
            attack: None,
            packets: std::cell::Cell::new(1),
        };
        private(&daemon.dir().join("logknock.toml"));
        daemon.set_config(&config);
        fs::create_dir(daemon.dir().join("log")).unwrap();
        private(&daemon.log());
        daemon
    }

    /// Starts it on what is there.
    pub(crate) fn spawn(&mut self) {
        drop(self.child.wait());
        let mut command = self.command_by(&self.starter, &[]);
        if self.notify.is_some() {
            command.env("NOTIFY_SOCKET", self.dir().join("notify"));
        }
        if let Some(watchdog) = self.watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        if let Some(attack) = &self.attack {
            command.env("LOGKNOCK_ATTACK", attack);
        }
        let stderr = File::create(self.dir().join("stderr")).unwrap();
        self.child = command
            .arg("--follow")
            .arg(self.log())
            .args(
                self.also
                    .iter()
                    .flat_map(|path| [Path::new("--follow"), path]),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
    }

    /// Starts it on what is there, and waits until it follows and answers.
    pub(crate) fn restart(&mut self) {
        self.spawn();
        self.wait_until("it follows", |status| {
            status.sources[0].health == "following"
        });
    }

    /// Starts it once more, to follow this file too.
    pub(crate) fn follow_too(&mut self, path: &Path) {
        self.kill();
        self.also.push(path.to_owned());
        self.spawn();
    }

    /// Has it started by `words` from now on.
    pub(crate) fn start_by(&mut self, words: &[&str]) {
        self.starter = words.iter().map(ToString::to_string).collect();
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_by(&[], args)
    }

    fn command_by(&self, starter: &[String], args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_logknock").to_owned();
        let mut words = starter.iter().chain([&program]);
        let mut command = Command::new(words.next().unwrap());
        command.env_clear().args(words).args(args);
        command
            .arg("--config")
            .arg(self.dir().join("logknock.toml"));
        let keeps_nothing = ["replay", "rules", "totp"];
        if !args
            .first()
            .is_some_and(|command| keeps_nothing.contains(command))
        {
            command.arg("--state-dir").arg(self.dir().join("state"));
        }
        command
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir().join("log/kern.log")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir().join("state/control.sock")
    }

    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.dir().join("logknock.toml")).unwrap()
    }

    pub(crate) fn set_config(&self, text: &str) {
        fs::write(self.dir().join("logknock.toml"), text).unwrap();
    }

    /// Runs the program with `args` beside the daemon.
    pub(crate) fn asks(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The same, started by the words of `starter`.
    pub(crate) fn asks_by(&self, starter: &[&str], args: &[&str]) -> Output {
        let starter: Vec<_> = starter.iter().map(ToString::to_string).collect();
        self.command_by(&starter, args).output().unwrap()
    }

    /// What it prints, when it succeeds.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.asks(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        let reply = protocol::ask(&self.socket(), &Request::Status, PATIENCE);
        let Ok(Reply::Status(status)) = reply else {
            panic!("no status: {reply:?}\n{}", self.said());
        };
        *status
    }

    /// Waits until its status is as `wanted`.
    pub(crate) fn wait_until(&self, what: &str, wanted: impl Fn(&Status) -> bool) {
        let done = || {
            let reply = protocol::ask(&self.socket(), &Request::Status, PATIENCE);
            matches!(reply, Ok(Reply::Status(status)) if wanted(&status))
        };
        logknock::eventually(done, || format!("{what}\n{}", self.said()));
    }

    /// Appends a line as a syslog daemon would.
    pub(crate) fn write(&self, line: &str) {
        let mut log = OpenOptions::new().append(true).open(self.log()).unwrap();
        log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// What the firewall logs when `src` knocks at `ports`.
    pub(crate) fn knock(&self, src: &str, ports: &[u16]) {
        self.knock_behind(|| "kernel:".to_owned(), src, ports);
    }

    /// The same, with the stamps of syslog and of the kernel: what a later daemon may still read.
    pub(crate) fn knock_stamped(&self, src: &str, ports: &[u16]) {
        let system = rustix::system::uname();
        let host = system.nodename().to_str().unwrap();
        let head = || {
            let wall = clock::wall_now().as_nanos();
            let wall = OffsetDateTime::from_unix_timestamp_nanos(wall.into()).unwrap();
            let uptime = clock::monotonic_now().as_nanos() / 1000;
            let (seconds, micros) = (uptime / 1_000_000, uptime % 1_000_000);
            let wall = wall.format(&Rfc3339).unwrap();
            format!("{wall} {host} kernel: [{seconds:5}.{micros:06}]")
        };
        self.knock_behind(head, src, ports);
    }

    /// The same, with another beginning of each line.
    pub(crate) fn knock_behind(&self, head: impl Fn() -> String, src: &str, ports: &[u16]) {
        for port in ports {
            let id = self.packets.replace(self.packets.get().wrapping_add(1));
            let head = head();
            self.write(&format!(
                "{head} lk-4f9a1c7e: IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 \
                 SRC={src} DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={id} DF PROTO=TCP \
                 SPT={} DPT={port} WINDOW=64240 RES=0x00 SYN URGP=0 ",
                40_000 + id % 20_000
            ));
        }
    }

    /// What its commands have said.
    pub(crate) fn commands(&self) -> String {
        fs::read_to_string(self.dir().join("commands")).unwrap_or_default()
    }

    pub(crate) fn await_command(&self, word: &str, src: &str) {
        let line = format!("{word} {src}");
        eventually(&format!("{line}\n{}", self.said()), || {
            self.commands().lines().any(|found| found == line)
        });
    }

    /// Opens its door as a knocker does.
    pub(crate) fn open(&self) {
        self.knock(KNOCKER, &PORTS);
        self.await_command("open", KNOCKER);
    }

    /// What it has said on stderr.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir().join("stderr")).unwrap_or_default()
    }

    pub(crate) fn await_said(&self, words: &str) {
        eventually(words, || self.said().contains(words));
    }

    /// The next message to the service manager that holds `words`.
    pub(crate) fn await_notice(&self, words: &str) -> String {
        let notify = self.notify.as_ref().unwrap();
        let mut message = [0; 4096];
        loop {
            let length = match notify.recv(&mut message) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                length => length.unwrap_or_else(|error| panic!("no {words}: {error}")),
            };
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            if text.contains(words) {
                return text;
            }
        }
    }

    /// Every message to the service manager that has not been looked at.
    pub(crate) fn notices(&self) -> Vec<String> {
        let notify = self.notify.as_ref().unwrap();
        notify.set_nonblocking(true).unwrap();
        let mut notices = Vec::new();
        let mut message = [0; 4096];
        while let Ok(length) = notify.recv(&mut message) {
            notices.push(String::from_utf8_lossy(&message[..length]).into_owned());
        }
        notices
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself meanwhile.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // With its commands, of which some would take minutes. One that has ended is another's number.
        if let Ok(None) = self.child.try_wait() {
            for pid in processes::descendants(self.pid()) {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
        }
        drop(self.child.wait());
    }
}

/// An empty file for its owner alone.
fn private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).unwrap();
}
