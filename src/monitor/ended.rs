//! How a command ended, and the sentence for it.
//!
//! The sentence names the program and never its arguments: they can hold a secret, and so can what
//! the command wrote. `Debug` keeps both back too.

use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;
use thiserror::Error;

use crate::engine::command::Invocation;
use crate::engine::grant::Outcome;
use crate::firewall::netlink::Verdict;

/// How much of a command's output is kept.
pub const HEAD: usize = 4096;

/// A command that has ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Ended {
    /// The program as the config names it.
    pub program: Box<str>,
    /// How it ended.
    pub how: How,
    /// The first [`HEAD`] bytes of its stdout and stderr.
    pub output: Box<[u8]>,
    /// How long it ran.
    pub took: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal, which was not ours.
    Signalled(i32),
    /// It was still running at its timeout; its process group was killed.
    TimedOut,
    /// It was still running when we had to stop; its process group was killed.
    Stopped,
    /// The kernel was asked instead of a program, and refused with this error.
    Refused(i32),
    /// It never ran.
    NotStarted(NotStarted),
}

/// Why a command never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotStarted {
    /// No such program, or the interpreter that it names is missing.
    #[error("the program, or the interpreter that it names, does not exist")]
    NotFound,
    /// The program may not be executed.
    #[error("permission denied")]
    Denied,
    /// The file is neither ELF nor a script that begins with `#!`.
    #[error("the file is neither a program nor a script that begins with '#!'")]
    NoProgram,
    /// No process, memory or descriptor to be had.
    #[error("out of processes, memory or descriptors")]
    Exhausted,
    /// The door has no such command for this address family.
    #[error("the door has no command for this address family")]
    NoCommand,
    /// Its grant could not be put on disk.
    #[error("its grant could not be written to disk")]
    Ledger,
    /// The one-time sequence could not be marked as used in its file, by the kernel's number.
    #[error(
        "its one-time sequence cannot be marked as used: {}",
        io::Error::from_raw_os_error(*.0)
    )]
    NotMarked(i32),
    /// The file of one-time sequences no longer says what was knocked.
    #[error("its one-time sequence is no longer in its file")]
    NotListed,
    /// Its time was over before its turn came.
    #[error("its hold was over before the command could start")]
    Expired,
    /// Too many commands wait already.
    #[error("too many commands are waiting")]
    Crowded,
    /// Something else, by the kernel's number.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

impl Ended {
    /// A change that the kernel carried out itself, or refused.
    pub(super) fn by_kernel(invocation: &Invocation, verdict: Verdict) -> Self {
        let how = match verdict {
            Verdict::Done => How::Exited(0),
            Verdict::Refused(errno) => How::Refused(errno),
        };
        Self {
            how,
            ..Self::not_started(Some(invocation), NotStarted::Expired)
        }
    }

    /// A command that never ran.
    pub(super) fn not_started(invocation: Option<&Invocation>, why: NotStarted) -> Self {
        let program = invocation.and_then(|invocation| invocation.argv.first());
        Self {
            program: program.map_or("", String::as_str).into(),
            how: How::NotStarted(why),
            output: Box::default(),
            took: Duration::ZERO,
        }
    }

    /// What is reported to the grants.
    pub fn outcome(&self) -> Outcome {
        match self.how {
            How::Exited(0) => Outcome::Done,
            How::NotStarted(_) => Outcome::NotRun,
            _ => Outcome::Failed,
        }
    }

    /// The exit status, if it exited.
    pub fn status(&self) -> Option<i32> {
        match self.how {
            How::Exited(status) => Some(status),
            _ => None,
        }
    }

    /// The last line that it wrote, or else how it ended.
    pub fn last_words(&self) -> String {
        let output = String::from_utf8_lossy(&self.output);
        let last = output
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty());
        last.map_or_else(
            || self.to_string(),
            |line| line.replace(char::is_control, " "),
        )
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("program", &self.program)
            .field("how", &self.how)
            .field("output", &format_args!("{} bytes", self.output.len()))
            .field("took", &self.took)
            .finish()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.program {
            "" => f.write_str("the command")?,
            program => write!(f, "'{}'", program.escape_debug())?,
        }
        match self.how {
            How::Exited(status) => write!(f, " exited with status {status}"),
            How::Signalled(signal) => write!(f, " was killed by signal {signal}"),
            How::TimedOut => write!(f, " was killed after {} s", self.took.as_secs()),
            How::Stopped => f.write_str(" was killed: logknock is stopping"),
            How::Refused(errno) if errno == Errno::NOENT.raw_os_error() => f.write_str(
                ": the kernel does not have the table 'logknock' or its sets; load the rules again",
            ),
            How::Refused(errno) if errno == Errno::OPNOTSUPP.raw_os_error() => {
                f.write_str(": this kernel has no nf_tables")
            }
            How::Refused(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                write!(f, ": the kernel refused the change of the set: {error}")
            }
            How::NotStarted(why) => write!(f, " was not run: {why}"),
        }
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Self::NotFound,
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied,
            Some(Errno::NOEXEC) => Self::NoProgram,
            Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => Self::Exhausted,
            Some(other) => Self::Other(other.raw_os_error()),
            // No number: std itself refused a word with a NUL byte.
            None => Self::Other(Errno::INVAL.raw_os_error()),
        }
    }
}

#[cfg(test)]
#[path = "ended_test.rs"]
mod tests;
