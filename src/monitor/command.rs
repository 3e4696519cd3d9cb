//! A command as it runs: the one place that starts processes.
//!
//! In: an [`Invocation`]; time, and what has become readable. Out: how it [`Ended`], with the beginning of its
//! output. No shell stands between; the child gets the descriptors 0 to 2, a directory, a path and variables that are
//! always the same, and a session of its own (`session`). Nothing here waits: a command is over within its timeout
//! and a few seconds, whatever the child does.
//!
//! The leader of a session that must be killed stays a zombie until the last signal has been sent, so that the number
//! of its group cannot be reused meanwhile.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the one place that starts processes; it looks at a program's first bytes, and at \
              the signals that we were started with"
)]

use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open,
    waitid,
};
use signal_hook::flag;

use super::ended::{Ended, HEAD, How, NotStarted};
use super::session::{Becomes, Sessions};
use crate::clock;
use crate::engine::account::Account;
use crate::engine::command::Invocation;
use crate::engine::time::Time;

/// Where a program without a slash in its name is looked for, and the child's `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long output is waited for after the child has exited: a process that it left in the background
/// may hold the pipe for ever.
const MAX_LINGER: Duration = Duration::from_secs(1);

/// Pieces of output read in one turn: a command that writes without end must not hold up the others.
const MAX_READS: usize = 16;

/// How often to look where the kernel gives no pidfd (before Linux 5.3, or out of descriptors).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes sure that the ends of children can be learnt. A parent may have left us SIGCHLD ignored, and then the kernel
/// reaps them itself: every close would seem to have failed, and the number of a group could be another's when it is
/// killed. Any handler, even an empty one, prevents that.
pub(super) fn hear_of_children() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let sigchld = 1 << (Signal::CHILD.as_raw() - 1);
    if ignored.is_some_and(|mask| mask & sigchld == 0) {
        return Ok(()); // no handler, no interrupted calls elsewhere
    }
    flag::register(Signal::CHILD.as_raw(), Arc::default()).map(drop)
}

/// The file that a command executes: found as the child's `PATH` says, relative to `/`, where the child starts.
pub fn locate(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(Path::new("/").join(program));
    }
    PATH.split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// Refuses a file that is neither ELF nor a script that names its interpreter. The C library would
/// give it to `/bin/sh`, and an empty file (an upgrade cut short) would be a close that succeeded.
fn check_format(path: &Path) -> Result<(), NotStarted> {
    if !path.is_file() {
        return Ok(()); // the kernel will say what is wrong with it
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(4).read_to_end(&mut head)) {
        Ok(_) if head.starts_with(b"#!") || head == b"\x7fELF" => Ok(()),
        Ok(_) => Err(NotStarted::NoProgram),
        Err(_) => Ok(()), // may be executed, may not be read
    }
}

/// The variables that name a user.
fn login(account: &Account) -> [(&str, &str); 3] {
    let (home, name) = (&*account.home, &*account.name);
    [("HOME", home), ("USER", name), ("LOGNAME", name)]
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// A command that runs, or that has ended and whose output is still open.
#[derive(Debug)]
pub(super) struct Command {
    child: Child,
    pidfd: Option<OwnedFd>,
    /// `None` once every writer has closed it.
    pipe: Option<PipeReader>,
    head: Vec<u8>,
    exited: bool,
    program: Box<str>,
    began: Time,
    stage: Stage,
    /// Why it did not end by itself.
    cut_short: Option<How>,
}

/// What is waited for, and until when on the monotonic clock.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// That it ends by itself.
    Running(Time),
    /// That a process which it left in the background lets go of its output.
    Lingering(Time),
    /// That its group ends after SIGTERM.
    Terminated(Time),
    /// That it ends after SIGKILL.
    Killed(Time),
}

impl Command {
    /// Starts `invocation`, which may take until the monotonic time `deadline`.
    pub(super) fn start(
        invocation: &Invocation,
        deadline: Time,
        sessions: &mut Sessions,
    ) -> Result<Self, NotStarted> {
        let program = invocation.argv.first().ok_or(NotStarted::NoCommand)?;
        let path = locate(program).ok_or(NotStarted::NotFound)?;
        check_format(&path)?;
        let fixed = [("PATH", PATH), ("LANG", "C")];
        let account = invocation.account.as_deref();
        let login = account.into_iter().flat_map(login);
        let ours = fixed.into_iter().chain(login).map(owned);
        let variables = invocation.env.iter().cloned();
        let what = Becomes {
            path: path.to_string_lossy().into_owned(),
            argv: invocation.argv.clone(),
            env: ours
                .chain(variables.filter(|(name, _)| name.starts_with("LOGKNOCK_")))
                .collect(),
            account: account.cloned(),
        };
        let (child, pipe) = sessions.run(&what)?;
        Ok(Self {
            pidfd: pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok(),
            child,
            pipe: Some(pipe),
            head: Vec::new(),
            exited: false,
            program: program.as_str().into(),
            began: clock::monotonic_now(),
            stage: Stage::Running(deadline),
            cut_short: None,
        })
    }

    /// What becomes readable when there is something to do.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let exit = self.pidfd.as_ref().filter(|_| !self.exited);
        let exit = exit.map(AsFd::as_fd);
        exit.into_iter().chain(self.pipe.as_ref().map(AsFd::as_fd))
    }

    /// When there is something to do though nothing has become readable, on the monotonic clock.
    pub(super) fn due(&self) -> Time {
        let (Stage::Running(due)
        | Stage::Lingering(due)
        | Stage::Terminated(due)
        | Stage::Killed(due)) = self.stage;
        if self.pidfd.is_none() && !self.exited {
            return due.min(clock::monotonic_now().after(LOOK_AGAIN));
        }
        due
    }

    /// Ends it, with its whole group.
    pub(super) fn stop(&mut self) {
        if let Stage::Running(_) = self.stage {
            self.terminate(How::Stopped, clock::monotonic_now());
        }
    }

    /// Does what is to be done now. Calling it early or often does nothing. How it ended, once it has.
    pub(super) fn advance(&mut self) -> Option<How> {
        let now = clock::monotonic_now();
        self.look();
        self.read();
        loop {
            match self.stage {
                Stage::Running(_) if self.exited => {
                    self.stage = Stage::Lingering(now.after(MAX_LINGER));
                }
                Stage::Running(deadline) if now >= deadline => {
                    self.terminate(How::TimedOut, now);
                }
                Stage::Lingering(until) if self.pipe.is_none() || now >= until => break,
                Stage::Terminated(until)
                    if (self.exited && self.pipe.is_none()) || now >= until =>
                {
                    self.signal(Signal::KILL);
                    self.stage = Stage::Killed(now.after(MAX_LINGER));
                    self.look();
                }
                Stage::Killed(until) if self.exited || now >= until => break,
                _ => return None,
            }
        }
        let exit = self.exited.then(|| self.child.wait().ok()).flatten();
        let by_itself = exit.map_or(How::TimedOut, how);
        Some(self.cut_short.unwrap_or(by_itself))
    }

    /// What is reported about its end. A child that even SIGKILL has not ended, as it hangs in the kernel, comes
    /// along: somebody must wait for it.
    pub(super) fn end(self, how: How) -> (Ended, Option<Child>) {
        let ended = Ended {
            program: self.program,
            how,
            output: self.head.into(),
            took: clock::monotonic_now().since(self.began),
        };
        (ended, (!self.exited).then_some(self.child))
    }

    fn terminate(&mut self, why: How, now: Time) {
        self.cut_short = Some(why);
        self.signal(Signal::TERM);
        self.stage = Stage::Terminated(now.after(GRACE));
    }

    fn signal(&self, signal: Signal) {
        let child = Pid::from_child(&self.child);
        // In its first moments it has no group of its own yet.
        if kill_process_group(child, signal).is_err() && !self.exited {
            let _ = kill_process(child, signal);
        }
    }

    /// Notes whether the child has exited, without reaping it.
    fn look(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let id = WaitId::Pid(Pid::from_child(&self.child));
        self.exited = self.exited || !matches!(waitid(id, options), Ok(None));
    }

    /// Reads what is there, up to a bound: keeps what still belongs to the head, discards the rest.
    fn read(&mut self) {
        for _ in 0..MAX_READS {
            let Some(pipe) = &mut self.pipe else { return };
            let mut buffer = [0; 16 * 1024];
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let kept = length.min(HEAD.saturating_sub(self.head.len()));
                    self.head.extend(buffer.iter().take(kept));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted => {}
                    _ => self.pipe = None,
                },
            }
        }
    }
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        (None, signal) => How::Signalled(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
#[path = "command_test.rs"]
mod tests;
