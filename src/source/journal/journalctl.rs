//! The program `journalctl`: asked once for the latest entry, and started to follow.
//!
//! In: where to begin. Out: its standard output. It never outlives us: it is killed when it is
//! dropped, and when we are killed instead, it sees that its output has no reader and ends. Nothing
//! that it prints on standard error is kept, but for the one question, where it is the answer.
#![expect(
    clippy::disallowed_types,
    reason = "the one source that is a process of its own"
)]

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::entry::{Entry, MISSED};
use crate::clock;
use crate::source::Refusal;
use crate::source::stop::{Stop, Woken};

/// Where the program is looked for, and its own `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long the answer to the one question may take, and how long it may be.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 1 << 20;

/// How journalctl is called.
#[derive(Debug)]
pub(super) struct Journalctl {
    program: PathBuf,
    /// Which entries it is to show: those of the kernel, of this boot, and journald's own word that it
    /// missed some. `-b` would say the same of the boot, but some versions end at once when the journal
    /// has nothing of it yet.
    matches: [String; 7],
}

/// A journalctl that follows.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// What it shows.
    pub(super) stdout: ChildStdout,
}

impl Journalctl {
    pub(super) fn new(program: PathBuf, boot: &str) -> Self {
        Self {
            program,
            matches: [
                format!("_BOOT_ID={boot}"),
                "_TRANSPORT=kernel".to_owned(),
                "SYSLOG_FACILITY=0".to_owned(),
                "+".to_owned(),
                format!("_BOOT_ID={boot}"),
                "_TRANSPORT=driver".to_owned(),
                format!("MESSAGE_ID={MISSED}"),
            ],
        }
    }

    /// Where the latest entry stands; `None` when there is none, though the journal may be read.
    pub(super) fn latest(&self) -> Result<Option<String>, Refusal> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.command();
        command
            .args(["--lines=1"])
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refusal::JournalctlMissing,
            _ => Refusal::Journalctl(error.to_string()),
        })?;
        // It holds the writing end, and we would wait for ourselves.
        drop(command);
        let mut child = Reaped(child);
        let answer = read_to_end(reader)?;
        let lines = || answer.split(|&byte| byte == b'\n');
        if let Some(entry) = lines().find_map(Entry::read) {
            return Ok(Some(entry.cursor));
        }
        if child.0.wait()?.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(lines().next().unwrap_or_default());
        Err(if said.contains("permission") {
            Refusal::JournalDenied
        } else {
            Refusal::Journalctl(said.escape_debug().to_string())
        })
    }

    /// Starts it at the entry at `cursor`, that one included; without one, at the oldest.
    pub(super) fn follow(&self, cursor: Option<&str>) -> io::Result<Running> {
        let mut command = self.command();
        command.args(["--follow", "--lines=all"]);
        if let Some(cursor) = cursor {
            command.arg(format!("--cursor={cursor}"));
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        Ok(Running { child, stdout })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs([("PATH", PATH), ("LC_ALL", "C")])
            .stdin(Stdio::null())
            .args(["--quiet", "--system", "--output=json", "--all"])
            .args(&self.matches);
        command
    }
}

impl Running {
    /// How it ended, once its output has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        // It may have closed its output and gone on.
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that is killed and waited for.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended, and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything up to the end, which must come soon.
fn read_to_end(reader: PipeReader) -> Result<Vec<u8>, Refusal> {
    let end = clock::monotonic_now().after(PATIENCE);
    let never = Stop::new()?;
    let mut answer = Vec::new();
    let mut reader = reader.take(MAX_ANSWER);
    let mut piece = [0; 4096];
    loop {
        let left = end.since(clock::monotonic_now());
        let input = reader.get_ref().as_fd();
        if never.wait(Some(input), Some(left)) == Woken::Timeout {
            let said = format!("no answer within {} s", PATIENCE.as_secs());
            return Err(Refusal::Journalctl(said));
        }
        match reader.read(&mut piece)? {
            0 => return Ok(answer),
            length => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
}
