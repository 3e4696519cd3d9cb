//! The real binary, in a directory of its own, as a sentence: `Logknock::new().config(…).run(…)`.
//!
//! Nothing sleeps for luck: whatever is waited for has a deadline that only a failure reaches.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use logknock::calendar::rfc3339;
use logknock::clock;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::processes;

/// How long anything may take before it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What the lines of [`Logknock::knock`] begin with.
pub(crate) const PREFIX: &str = "lk-4f9a1c7e: ";

/// A directory with a config and logs, and the program to run in it.
pub(crate) struct Logknock {
    dir: TempDir,
    environment: Vec<(&'static str, String)>,
    /// Who runs it, if not we.
    user: Option<u32>,
    packets: Cell<u16>,
}

impl Logknock {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            environment: vec![("TZ", "UTC0".to_owned())],
            user: None,
            packets: Cell::new(0),
        }
    }

    /// With this `logknock.toml`, which it is run with.
    pub(crate) fn config(self, text: &str) -> Self {
        self.file("logknock.toml", text)
            .set("LOGKNOCK_CONFIG", "logknock.toml")
    }

    /// With a door that opens for 7000, 8000 and 9000, and notes in `acts` what was done.
    pub(crate) fn door(self, keys: &str) -> Self {
        let acts = self.path("acts").display().to_string();
        self.config(&format!(
            "[log]\nprefix = \"{PREFIX}\"\n[door.ssh]\nsequence = [7000, 8000, 9000]\n\
             start_command = [\"/bin/sh\", \"-c\", \"echo open $1 >> $2\", \"sh\", \"%IP%\", \"{acts}\"]\n\
             stop_command = [\"/bin/sh\", \"-c\", \"echo close $1 >> $2\", \"sh\", \"%IP%\", \"{acts}\"]\n{keys}\n"
        ))
    }

    /// With this file.
    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.write(name, text);
        self
    }

    /// With this in the environment.
    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Run by a user who is not root; the directory and the files in it are everybody's to read.
    pub(crate) fn run_by_nobody(mut self) -> Self {
        if rustix::process::geteuid().is_root() {
            self.user = Some(65_534);
            // It makes its state directory there, where nobody else may write.
            std::os::unix::fs::chown(self.dir.path(), Some(65_534), None).unwrap();
            fs::set_permissions(self.dir.path(), Permissions::from_mode(0o755)).unwrap();
            // The program may lie where only root can reach it. Copied by a process of its own: one that
            // another test starts meanwhile would have it open for writing, and it could not be run.
            let program = env!("CARGO_BIN_EXE_logknock");
            let mut copy = Command::new("cp");
            let copied = copy.arg(program).arg(self.path("logknock")).status();
            assert!(copied.unwrap().success());
            fs::set_permissions(self.path("logknock"), Permissions::from_mode(0o755)).unwrap();
        }
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file there, in place of any of that name, readable by its owner only.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        let fresh = path.with_extension("fresh");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        file.open(&fresh).unwrap().write_all(text.as_ref()).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    pub(crate) fn append(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600);
        let mut file = file.open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The line of a packet that is logged now.
    pub(crate) fn packet(&self, src: &str, port: u16) -> String {
        self.packets.set(self.packets.get() + 1);
        let (spt, id) = (40_000 + self.packets.get(), 7_000 + self.packets.get());
        format!(
            "{} gw1 kernel: {PREFIX}IN=eth0 OUT= MAC=00:00:5e:00:53:01:00:00:5e:00:53:fe:08:00 SRC={src} \
             DST=192.0.2.1 LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID={id} DF PROTO=TCP SPT={spt} DPT={port} \
             WINDOW=64240 RES=0x00 SYN URGP=0 \n",
            rfc3339(clock::wall_now())
        )
    }

    /// Has the whole sequence of [`Logknock::door`] logged to `kern.log`.
    pub(crate) fn knock(&self, src: &str) {
        let lines = [7000, 8000, 9000].map(|port| self.packet(src, port));
        self.append("kern.log", &lines.concat());
    }

    /// Waits until `line` has been noted in `acts`.
    pub(crate) fn awaits_act(&self, line: &str) {
        eventually(
            || self.read("acts").lines().any(|act| act == line),
            || format!("no '{line}' in: {}", self.read("acts")),
        );
    }

    /// Runs it to its end with the `arguments`, which are split at blanks.
    pub(crate) fn run(&self, arguments: &str) -> Ended {
        self.run_on(arguments, b"")
    }

    /// The same, with something on its standard input.
    pub(crate) fn run_on(&self, arguments: &str, input: &[u8]) -> Ended {
        let mut child = self.spawn(arguments, Stdio::piped());
        let mut stdin = child.stdin.take().unwrap();
        // It may end without having read everything.
        drop(stdin.write_all(input));
        drop(stdin);
        child.wait_with_output().unwrap().into()
    }

    /// Runs it with a reader that goes after the first line of results.
    pub(crate) fn run_for_one_line(&self, arguments: &str) -> Ended {
        let mut child = self.spawn(arguments, Stdio::null());
        let mut results = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        results.read_line(&mut line).unwrap();
        drop(results);
        let mut output = child.wait_with_output().unwrap();
        output.stdout = line.into_bytes();
        output.into()
    }

    /// Runs it on a terminal. What both streams show is in `stdout`.
    pub(crate) fn run_on_terminal(&self, arguments: &str) -> Ended {
        let program = env!("CARGO_BIN_EXE_logknock");
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{program} {arguments}"), "/dev/null"]);
        let output = self.prepare(&mut script).env("TERM", "xterm").output();
        output.unwrap().into()
    }

    /// Starts it, to be ended by [`Running`].
    pub(crate) fn start(&self, arguments: &str) -> Running {
        let mut child = self.spawn(arguments, Stdio::piped());
        let (sender, lines) = channel();
        let stdin = child.stdin.take();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines.into_iter().try_for_each(|line| sender.send(line))
            });
        }
        Running {
            child,
            lines,
            said: Vec::new(),
            _stdin: stdin,
        }
    }

    /// The daemon on `kern.log`, which it follows already.
    pub(crate) fn follow(&self, options: &str) -> Running {
        self.append("kern.log", "");
        let log = self.path("kern.log");
        let state = self.path("state");
        let mut running = self.start(&format!(
            "{options} --state-dir {} --follow {}",
            state.display(),
            log.display()
        ));
        running.says("following");
        running
    }

    fn spawn(&self, arguments: &str, stdin: Stdio) -> Child {
        let program = match self.user {
            None => PathBuf::from(env!("CARGO_BIN_EXE_logknock")),
            Some(_) => self.path("logknock"),
        };
        let mut command = self.as_its_user(&program);
        let command = self.prepare(&mut command);
        command.args(arguments.split_whitespace()).stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// `program`, to be run by the user who runs the daemon.
    pub(crate) fn as_its_user(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(user) = self.user else {
            return Command::new(program);
        };
        let user = user.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.arg(program);
        command
    }

    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .envs(environment)
            .current_dir(self.dir.path())
    }
}

/// How it ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It ended with this code and said why: behind its name, once, and in no other stream.
    pub(crate) fn fails_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.starts_with("logknock: "), "{self:?}");
        assert!(!self.stderr.contains("logknock: logknock: "), "{self:?}");
        assert!(
            self.stderr.ends_with('\n') && !self.stderr.ends_with("\n\n"),
            "{self:?}"
        );
        self
    }

    /// These are its results, to the letter.
    pub(crate) fn prints(self, results: &str) -> Self {
        assert_eq!(self.stdout, results, "{}", self.stderr);
        self
    }

    pub(crate) fn prints_nothing(self) -> Self {
        self.prints("")
    }

    pub(crate) fn prints_among_others(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no '{text}' in {self:?}");
        self
    }

    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no '{text}' in {self:?}");
        self
    }

    pub(crate) fn says_nothing(self) -> Self {
        assert_eq!(self.stderr, "");
        self
    }
}

/// A daemon that runs. It is killed when the test ends.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    _stdin: Option<ChildStdin>,
}

impl Running {
    /// Waits until it says a line with `text` in it, on whichever stream; gives the line.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it does not say '{text}', but: {:#?}", self.said);
            };
            self.said.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Everything that it says, once it has ended.
    pub(crate) fn says_to_its_end(mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        std::mem::take(&mut self.said)
    }

    pub(crate) fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        processes::send(self.pid(), signal);
    }

    /// Waits until it ends. Its exit status, or the number of the signal that ended it below zero.
    pub(crate) fn ends(mut self) -> i32 {
        let mut status = None;
        eventually(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || "it does not end".to_owned(),
        );
        let status = status.unwrap();
        status
            .code()
            .or(status.signal().map(|signal| -signal))
            .unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until `condition` holds; says why it does not when that takes too long.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool, otherwise: impl FnOnce() -> String) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{}", otherwise());
        thread::sleep(Duration::from_millis(5));
    }
}

/// The files in `directory` whose names end in `.end`, in order.
pub(crate) fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension() == Some(OsStr::new(end)));
    paths.sort();
    paths
}
