//! What the runner is to do, as the command line and the config say it; how it ended, or why it did not
//! start.
//!
//! In: nothing; the caller fills it in. It holds two calls back to the caller, who alone reads the config
//! and starts journalctls.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use super::follower::Start;
use crate::engine::door::Door;
use crate::privsep::Read;
use crate::runner;
use crate::runner::ledger::OpenError;

/// Where open grants are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In this directory.
    In(PathBuf),
    /// In memory only: a crash leaves doors open.
    Nowhere,
}

/// What is known of the configuration.
pub struct Rules {
    /// The doors, with their commands.
    pub doors: Vec<Arc<Door>>,
    /// The same for the follower.
    pub text: String,
}

/// Ends a journalctl, if it has not ended, and says how it did. Dropping it ends it too.
pub type EndOfJournal = Box<dyn FnMut() -> Option<ExitStatus>>;

/// Starts a journalctl.
pub type StartOfJournal = Box<dyn FnMut(&Read) -> io::Result<Journal>>;

/// A journalctl that runs.
pub struct Journal {
    /// What it prints.
    pub output: OwnedFd,
    /// Its end.
    pub end: EndOfJournal,
}

/// Everything the runner is to do.
pub struct Plan {
    /// The doors.
    pub rules: Rules,
    /// Where open grants are kept.
    pub kept: Kept,
    /// How commands are run.
    pub commands: runner::Options,
    /// Whether doors are closed at the end.
    pub close_at_end: bool,
    /// How long the end may take.
    pub stop_timeout: Duration,
    /// How the follower is started.
    pub follower: Start,
    /// The standard input, if lines are to be read from there.
    pub stdin: Option<OwnedFd>,
    /// Whether the follower comes to an end by itself: it reads nothing but standard input.
    pub has_end: bool,
    /// The sockets that the follower makes.
    pub sockets: Vec<PathBuf>,
    /// Sources, by number, that a journalctl may be started for.
    pub journals: Vec<u16>,
    /// Starts one.
    pub journal: StartOfJournal,
    /// Reads the configuration again, or says what is wrong with it.
    pub reload: Box<dyn FnMut() -> Result<Rules, String>>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was told to; so many doors were left open though they were to be closed.
    Stopped {
        /// Doors.
        left: usize,
    },
    /// The follower did not start, and has said why: its exit status.
    NotStarted(Option<i32>),
}

/// Why the runner did not start.
#[derive(Debug)]
pub enum StartError {
    /// The state directory.
    State(OpenError),
    /// Processes, threads, signals, clocks.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(error) => {
                write!(f, "{error}")?;
                std::error::Error::source(error).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Self::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
