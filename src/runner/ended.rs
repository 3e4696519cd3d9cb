//! How a command ended, and the sentence for it.
//!
//! The sentence names the program and never its arguments: they can hold a secret, and so can what
//! the command wrote. `Debug` keeps both back too.

use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;

use crate::engine::action::Outcome;
use crate::engine::command::Invocation;

/// How much of a command's output is kept.
pub const HEAD: usize = 4096;

/// A command that is over.
#[derive(Clone, PartialEq, Eq)]
pub struct Ended {
    /// The program as the config names it.
    pub program: Box<str>,
    /// How it ended.
    pub how: How,
    /// The first [`HEAD`] bytes of what it wrote to stdout and stderr.
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
    /// It never ran.
    NotStarted(NotStarted),
    /// It would have been run.
    DryRun,
}

/// Why a command never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// No such program, or the interpreter that it names is missing.
    NotFound,
    /// The program may not be executed.
    Denied,
    /// The file is neither ELF nor a script that begins with `#!`.
    NoProgram,
    /// No process, memory or descriptor to be had.
    Exhausted,
    /// The door has no such command for this address family.
    NoCommand,
    /// Its grant could not be put on disk.
    Ledger,
    /// The one-time sequence could not be marked as used in its file, by the kernel's number.
    NotMarked(i32),
    /// The file of one-time sequences no longer says what was knocked.
    NotListed,
    /// No grant of this number is open: there is nothing to close.
    NoGrant,
    /// Too many commands wait already.
    Crowded,
    /// We had to stop before its turn came.
    Stopped,
    /// Something else, by the kernel's number.
    Other(i32),
}

impl Ended {
    pub(super) fn new(invocation: &Invocation, how: How, output: Vec<u8>, took: Duration) -> Self {
        Self {
            program: invocation.argv.first().map_or("", String::as_str).into(),
            how,
            output: output.into(),
            took,
        }
    }

    pub(super) fn not_started(invocation: Option<&Invocation>, why: NotStarted) -> Self {
        let nothing = Invocation::default();
        let invocation = invocation.unwrap_or(&nothing);
        Self::new(invocation, How::NotStarted(why), Vec::new(), Duration::ZERO)
    }

    /// Whether it did what it was for. To close what is not open is done too.
    pub fn outcome(&self) -> Outcome {
        match self.how {
            How::Exited(0) | How::DryRun | How::NotStarted(NotStarted::NoGrant) => Outcome::Done,
            _ => Outcome::Failed,
        }
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
            How::Stopped => f.write_str(" was killed: we are stopping"),
            How::NotStarted(why) => write!(f, " was not run: {why}"),
            How::DryRun => f.write_str(" would have been run"),
        }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such program, or not the interpreter that it names",
            Self::Denied => "permission denied",
            Self::NoProgram => "it is no program, and no script that begins with '#!'",
            Self::Exhausted => "out of processes, memory or descriptors",
            Self::NoCommand => "the door has none for this address family",
            Self::Ledger => "its grant could not be put on disk",
            Self::NotMarked(errno) => {
                let error = io::Error::from_raw_os_error(*errno);
                return write!(f, "its one-time sequence cannot be marked as used: {error}");
            }
            Self::NotListed => "its one-time sequence is no longer in its file",
            Self::NoGrant => "there is nothing to close",
            Self::Crowded => "too many commands wait already",
            Self::Stopped => "we are stopping",
            Self::Other(errno) => return io::Error::from_raw_os_error(*errno).fmt(f),
        })
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
mod tests {
    use super::*;

    fn ended(how: How) -> Ended {
        let invocation = Invocation {
            argv: vec!["/sbin/nft".to_owned(), "s3cret".to_owned()],
            env: vec![("LOGKNOCK_PORT".to_owned(), "s3cret".to_owned())],
            account: None,
        };
        let took = Duration::from_millis(10_012);
        Ended::new(&invocation, how, b"s3cret".to_vec(), took)
    }

    #[test]
    fn the_sentence_names_the_program_and_nothing_that_could_be_secret() {
        let cases = [
            (How::Exited(2), "'/sbin/nft' exited with status 2"),
            (How::Signalled(11), "'/sbin/nft' was killed by signal 11"),
            (How::TimedOut, "'/sbin/nft' was killed after 10 s"),
            (
                How::NotStarted(NotStarted::Denied),
                "'/sbin/nft' was not run: permission denied",
            ),
        ];
        for (how, sentence) in cases {
            assert_eq!(ended(how).to_string(), sentence);
            assert!(!format!("{:?}", ended(how)).contains("s3cret"));
        }
    }

    #[test]
    fn only_status_zero_is_done_unless_there_was_nothing_to_do() {
        assert_eq!(ended(How::Exited(0)).outcome(), Outcome::Done);
        let nothing = Ended::not_started(None, NotStarted::NoGrant);
        assert_eq!(nothing.outcome(), Outcome::Done);
        for how in [
            How::Exited(1),
            How::Signalled(9),
            How::TimedOut,
            How::Stopped,
            How::NotStarted(NotStarted::Ledger),
        ] {
            assert_eq!(ended(how).outcome(), Outcome::Failed, "{how:?}");
        }
    }

    #[test]
    fn a_refusal_of_the_kernel_is_told_apart_by_its_number() {
        let cases = [
            (Errno::NOENT, NotStarted::NotFound),
            (Errno::ACCESS, NotStarted::Denied),
            (Errno::NOEXEC, NotStarted::NoProgram),
            (Errno::AGAIN, NotStarted::Exhausted),
            (Errno::NOMEM, NotStarted::Exhausted),
            (Errno::TXTBSY, NotStarted::Other(26)),
        ];
        for (errno, why) in cases {
            assert_eq!(NotStarted::from(io::Error::from(errno)), why);
        }
    }
}
