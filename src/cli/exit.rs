//! The exit codes and their meanings, from `sysexits.h` where it has one. A failure is printed once, after the
//! program's name, on standard error.
//!
//! A reader that closes the pipe (`logknock parse kern.log | head`) is not a failure: nothing is printed, and the
//! exit status is 0.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::journal;
use crate::config::{ErrorKind, Errors};

/// What every message on standard error begins with.
const NAME: &str = "logknock: ";

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    /// How it ends.
    pub(super) code: Code,
    /// What to say; may hold several lines. Empty when all is said.
    pub(super) message: String,
}

/// How a command that failed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The reader of the results is gone.
    Done = 0,
    /// The answer is no, or the request failed.
    Failed = 1,
    /// The command line is wrong (clap's own).
    Usage = 2,
    /// A source or the daemon is unavailable (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Our fault (`EX_SOFTWARE`).
    Internal = 70,
    /// Another instance runs, or doors are left open (`EX_TEMPFAIL`).
    Busy = 75,
    /// Not permitted (`EX_NOPERM`).
    Permission = 77,
    /// The configuration is wrong (`EX_CONFIG`).
    Config = 78,
}

impl Code {
    /// The code that another process of this program ended with.
    pub(super) fn of(status: Option<i32>) -> Self {
        let codes = [
            Self::Done,
            Self::Failed,
            Self::Usage,
            Self::Unavailable,
            Self::Busy,
            Self::Permission,
            Self::Config,
        ];
        let code = codes.into_iter().find(|code| Some(*code as i32) == status);
        code.unwrap_or(Self::Internal)
    }
}

impl Failure {
    /// A failure with something to say.
    pub(super) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// Says why, if there is something to say.
    pub(super) fn tell(&self) {
        if !self.message.is_empty() {
            tell_as(&self.message, journal::error);
        }
    }
}

/// Says `message` on standard error, behind the program's name. The reader may be gone.
pub(super) fn tell(message: &str) {
    tell_as(message, str::to_owned);
}

fn tell_as(message: &str, mark: fn(&str) -> String) {
    let message = message.strip_prefix(NAME).unwrap_or(message);
    let message = mark(&format!("{NAME}{message}"));
    drop(writeln!(anstream::stderr(), "{message}"));
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl From<ErrorKind> for Code {
    /// How a command ends for what is wrong with the config, or with what it names.
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Permission => Self::Permission,
            ErrorKind::Invalid | ErrorKind::Missing => Self::Config,
        }
    }
}

impl From<Errors> for Failure {
    /// A config that cannot be used.
    fn from(errors: Errors) -> Self {
        Self::new(errors.kind.into(), errors.styled())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::Internal, error)
    }
}

impl From<io::Error> for Failure {
    /// Results that cannot be written.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Code::Done, ""),
            _ => Self::new(Code::Failed, error),
        }
    }
}
