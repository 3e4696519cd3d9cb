//! `logknock demo`: a knock opens and closes a door, on this machine, without root.
//!
//! Nothing is simulated: the daemon is this program with `--follow`, and the lines have the form of the kernel's LOG
//! target. The open command writes a file, and the close command removes it. Only the packets are missing: without
//! root there is no firewall rule to log any.
#![expect(
    clippy::disallowed_types,
    reason = "starts the daemon as a user would, and writes its log file"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "an arrangement of files in a directory of its own"
)]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::{Code, Failure};
use super::{init, secret};
use crate::calendar::rfc3339;
use crate::clock;

const KNOCKER: &str = "203.0.113.7";
const SCANNER: &str = "198.51.100.66";
/// How long the demonstration waits for anything before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two lines, so that eyes can follow.
const PACE: Duration = Duration::from_millis(400);

const CONFIG: &str = include_str!("demo.toml");

/// Runs the demonstration. It ends by itself in a few seconds.
pub(super) fn run() -> Result<(), Failure> {
    // A signal may end it early; nothing may be left behind then either.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let dir = tempfile::Builder::new()
        .prefix("logknock-demo-")
        .tempdir()?;
    let stage = Stage::set(dir.path(), signals)?;
    stage.play()
}

/// The daemon, its log file, and what it says.
struct Stage<'a> {
    dir: &'a Path,
    prefix: String,
    log: File,
    daemon: Child,
    /// What the daemon prints, one event a line.
    events: Receiver<Value>,
    started: Instant,
}

impl<'a> Stage<'a> {
    fn set(dir: &'a Path, signals: Signals) -> Result<Self, Failure> {
        say(
            "logknock finds port knocks in the lines that a firewall logs. This is the real daemon on a log of its own:",
        )?;
        let prefix = secret::prefix()?;
        let config = CONFIG
            .replace("@PREFIX@", &prefix)
            .replace("@DIR@", &dir.display().to_string());
        let (config_file, log_file) = (dir.join("logknock.toml"), dir.join("kern.log"));
        init::write(&config_file, &config)?;
        init::write(&log_file, "")?;
        let log = File::options().append(true).open(&log_file)?;
        let shown = log_file.display();
        say(&format!(
            "\n  $ logknock --config logknock.toml --follow {shown}\n"
        ))?;
        let mut daemon = Command::new(std::env::current_exe()?)
            .args(["--json", "--config"])
            .arg(&config_file)
            .arg("--state-dir")
            .arg(dir.join("state"))
            .arg("--follow")
            .arg(&log_file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let events = listen(&mut daemon, signals)?;
        let stage = Self {
            dir,
            prefix,
            log,
            daemon,
            events,
            started: Instant::now(),
        };
        stage.await_event("following")?;
        Ok(stage)
    }

    fn play(mut self) -> Result<(), Failure> {
        say(
            "A scanner tries ports in order. Each wrong port resets its attempt, so a scan never gets through:",
        )?;
        for port in [6999, 7000, 7001, 8000, 9000] {
            self.packet(SCANNER, "TCP", port)?;
        }
        self.hear(Duration::from_millis(200))?;

        say(
            "\nSomeone writes a line to the log that looks like a knock (here: an ssh login name). The kernel did not write it:",
        )?;
        let name = self.body(SCANNER, "TCP", 7000);
        self.line(&format!("sshd[4711]: Invalid user kernel: {name}"))?;
        self.hear(Duration::from_millis(200))?;

        say("\nYou knock 7000, 8000/udp, 9000:")?;
        for (proto, port) in [("TCP", 7000), ("UDP", 8000), ("TCP", 9000)] {
            self.packet(KNOCKER, proto, port)?;
            self.hear(PACE)?;
        }
        let door = self.dir.join(format!("door-{KNOCKER}"));
        let text = await_file(&door, true).map(|text| text.trim_end().to_owned());
        let text =
            text.ok_or_else(|| Failure::new(Code::Failed, "the open command did not run"))?;
        say(&format!("  the open command ran:   {text}"))?;

        say("\nThe door closes by itself after cmd_timeout, 2 s:")?;
        self.await_event("close")?;
        await_file(&door, false)
            .ok_or_else(|| Failure::new(Code::Failed, "the close command did not run"))?;
        say("  the close command ran:  the file it left is gone")?;
        self.end()
    }

    fn end(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.daemon), Signal::TERM).map_err(io::Error::from)?;
        let status = self.daemon.wait()?;
        let took = self.started.elapsed().as_secs_f32();
        say(&format!(
            "\nThat was the daemon ({status}), a real log file, inotify and two commands, in {took:.1} s.\n\
             Next: 'logknock init' writes a configuration and prints the next steps."
        ))?;
        Ok(())
    }

    /// Writes a line as rsyslog does, and shows the part of it that matters.
    fn packet(&mut self, src: &str, proto: &str, port: u16) -> io::Result<()> {
        let uptime = clock::monotonic_now().as_nanos();
        let (seconds, micros) = (uptime / 1_000_000_000, uptime / 1_000 % 1_000_000);
        let body = self.body(src, proto, port);
        self.line(&format!("kernel: [{seconds:>5}.{micros:06}] {body}"))
    }

    fn body(&self, src: &str, proto: &str, port: u16) -> String {
        let (spt, id) = (40_000 + port % 1_000, port ^ 0x5a5a);
        let tail = match proto {
            "UDP" => "LEN=9".to_owned(),
            _ => "WINDOW=64240 RES=0x00 SYN URGP=0".to_owned(),
        };
        format!(
            "{}IN=eth0 OUT= MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC={src} DST=192.0.2.1 LEN=60 TOS=0x00 \
             PREC=0x00 TTL=52 ID={id} DF PROTO={proto} SPT={spt} DPT={port} {tail} ",
            self.prefix
        )
    }

    fn line(&mut self, message: &str) -> io::Result<()> {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        // One write a line, as rsyslog does.
        self.log
            .write_all(format!("{} {host} {message}\n", rfc3339(clock::wall_now())).as_bytes())?;
        let mut words = message.split(' ').filter(|word| {
            [
                "sshd", "Invalid", "user", "kernel:", "SRC=", "PROTO=", "DPT=", "SYN",
            ]
            .iter()
            .any(|key| word.starts_with(key))
        });
        let short: Vec<_> = words.by_ref().collect();
        say(&format!("  log:  {}", short.join(" ")))
    }

    /// Shows what the daemon says within `time`.
    fn hear(&self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            match self
                .events
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(event) => show(&event)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
        }
    }

    /// Shows what the daemon says until it says `what`.
    fn await_event(&self, what: &str) -> Result<(), Failure> {
        loop {
            let event = self.events.recv_timeout(PATIENCE).map_err(|_| gone())?;
            show(&event)?;
            if event.get("event").and_then(Value::as_str) == Some(what) {
                return Ok(());
            }
        }
    }
}

fn gone() -> Failure {
    Failure::new(Code::Failed, "the daemon does not answer")
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // Already ended when the play was.
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

/// Reads what the daemon prints: events from stdout, and from stderr that it follows. A signal is an
/// event too.
fn listen(daemon: &mut Child, mut signals: Signals) -> io::Result<Receiver<Value>> {
    let (sender, events) = channel();
    let stdout = daemon.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let stderr = daemon.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (following, interrupted) = (sender.clone(), sender.clone());
    thread::Builder::new().spawn(move || {
        if signals.forever().next().is_some() {
            drop(interrupted.send(serde_json::json!({"event": "interrupted"})));
        }
    })?;
    thread::Builder::new().spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines
            .filter_map(|line| serde_json::from_str(&line).ok())
            .try_for_each(|event| sender.send(event))
    })?;
    thread::Builder::new().spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("following")
                && following
                    .send(serde_json::json!({"event": "following"}))
                    .is_err()
            {
                return;
            }
        }
    })?;
    Ok(events)
}

fn show(event: &Value) -> io::Result<()> {
    let text = |key| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key| event.get(key).and_then(Value::as_u64).unwrap_or_default();
    let what = match text("event") {
        "interrupted" => return Err(io::ErrorKind::Interrupted.into()),
        "following" => return say("  logknock follows the file\n"),
        "stage" => format!("stage {} of {}", number("stage"), number("of")),
        "reset" => format!("reset: {}", text("reason")),
        other => other.to_owned(),
    };
    let (door, src) = (text("door"), text("src"));
    say(&format!("  logknock: {door:<4} {src:<14} {what}"))
}

fn say(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Waits until `path` is there, or is not, and gives what was in it.
fn await_file(path: &Path, there: bool) -> Option<String> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match (fs::read_to_string(path), there) {
            (Ok(text), true) if !text.is_empty() => return Some(text),
            (Err(_), false) => return Some(String::new()),
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}
