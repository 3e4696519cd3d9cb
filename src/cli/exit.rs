//! Exit codes, once, with their meanings (`sysexits.h` where it has a word for it).

use std::fmt;
use std::process::ExitCode;

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    /// How it ends.
    pub(super) code: Code,
    /// What to say, without the program's name; may hold several lines. Empty when all is said.
    pub(super) message: String,
}

/// How a command that failed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The answer is no, or the request failed.
    Failed = 1,
    /// The command line is wrong (clap's own).
    Usage = 2,
    /// A source or the daemon is not there (`EX_UNAVAILABLE`).
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

impl Failure {
    /// A failure with something to say.
    pub(super) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::Internal, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Code::Failed, error)
    }
}
