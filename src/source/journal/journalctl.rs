//! The program `journalctl`: asked once for the latest entry, and started to follow.
//!
//! In: what it is to show. Out: its output. A process without the right to start programs lets another process do it
//! ([`StartJournal`]). It never outlives us: it is killed when it is dropped. If we are killed, it sees that its output
//! has no reader and ends. Nothing that it prints on standard error is kept, but for the one question, where it is the
//! answer.
#![expect(
    clippy::disallowed_types,
    reason = "the one source that is a process of its own"
)]

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::read;

use super::boot;
use super::entry::{Entry, MISSED};
use crate::child::Owned;
use crate::clock;
use crate::privsep::{Journal, StartJournal, Wanted};
use crate::source::Refusal;
use crate::source::thread::{Stop, Woken};

/// Where the program is looked for, and its own `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long the answer to the one question may take, and how long it may be.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 1 << 20;
/// How long journalctl may take to end after it has closed its output.
const EXIT_TIMEOUT: Duration = Duration::from_millis(200);

/// Starts them as children of this process.
#[derive(Clone, Debug)]
pub struct Journalctl {
    program: PathBuf,
    /// Which entries it is to show: those of the kernel, of this boot, and journald's own word that it
    /// missed some. `-b` would say the same of the boot, but some versions end at once when the journal
    /// has nothing of it yet.
    matches: [String; 7],
}

impl Journalctl {
    /// The system's.
    pub fn of_this_system() -> io::Result<Self> {
        Self::at("journalctl")
    }

    /// Another one; without a slash, looked for in the system's directories.
    pub fn at(program: impl Into<PathBuf>) -> io::Result<Self> {
        let boot = boot()?;
        Ok(Self {
            program: program.into(),
            matches: [
                format!("_BOOT_ID={boot}"),
                "_TRANSPORT=kernel".to_owned(),
                "SYSLOG_FACILITY=0".to_owned(),
                "+".to_owned(),
                format!("_BOOT_ID={boot}"),
                "_TRANSPORT=driver".to_owned(),
                format!("MESSAGE_ID={MISSED}"),
            ],
        })
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

    /// Starts one.
    pub fn start(&self, wanted: &Wanted) -> io::Result<Journal> {
        let (output, writer) = io::pipe()?;
        let mut command = self.command();
        match wanted {
            Wanted::Latest => command.arg("--lines=1").stderr(writer.try_clone()?),
            Wanted::From(cursor) => {
                command.args(["--follow", "--lines=all"]);
                command.args(cursor.as_ref().map(|cursor| format!("--cursor={cursor}")));
                command.stderr(Stdio::null())
            }
        };
        let mut child = Owned::new(command.stdout(writer).spawn()?);
        // It may have closed its output and gone on.
        Ok(Journal {
            output: output.into(),
            end: Box::new(move || child.end(EXIT_TIMEOUT)),
        })
    }
}

/// Where the latest entry stands; `None` when there is none, though the journal may be read.
pub(super) fn latest(start: &mut StartJournal) -> Result<Option<String>, Refusal> {
    let started = start(&Wanted::Latest);
    let mut running = started.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Refusal::JournalctlMissing,
        _ => Refusal::Journalctl(error.to_string()),
    })?;
    let answer = read_to_end(&running.output)?;
    let lines = || answer.split(|&byte| byte == b'\n');
    if let Some(entry) = lines().find_map(Entry::read) {
        return Ok(Some(entry.cursor));
    }
    if (running.end)().is_some_and(|status| status.success()) {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(lines().next().unwrap_or_default());
    Err(if said.contains("permission") {
        Refusal::JournalDenied
    } else {
        Refusal::Journalctl(said.escape_debug().to_string())
    })
}

/// Everything up to the end, which must come soon.
fn read_to_end(output: &OwnedFd) -> Result<Vec<u8>, Refusal> {
    let end = clock::monotonic_now().after(ANSWER_TIMEOUT);
    let never = Stop::new()?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < MAX_ANSWER {
        let left = end.since(clock::monotonic_now());
        if never.wait(Some(output.as_fd()), Some(left)) == Woken::Timeout {
            let said = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
            return Err(Refusal::Journalctl(said));
        }
        match read(output, &mut piece).map_err(io::Error::from)? {
            0 => break,
            length => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
        }
    }
    Ok(answer)
}
