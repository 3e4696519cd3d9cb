//! What the monitor is to do, as the command line and the configuration say it; how it ended, or why it did
//! not start.
//!
//! In: nothing; the caller fills it in. It holds two calls back to the caller, which alone reads the
//! configuration and starts journalctls.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::control::Socket;
use super::detector::Start;
use super::executor::{DryRun, Options};
use super::fleet::Membership;
use super::ledger::OpenError;
use super::notifier::Notify;
use super::records::Files;
use crate::engine::door::Door;
use crate::privsep::StartJournal;

/// What is known of the configuration.
pub struct Configuration {
    /// The doors, with their commands.
    pub doors: Vec<Arc<Door>>,
    /// This gateway's place in a fleet.
    pub fleet: Option<Membership>,
    /// The command that is run for events.
    pub notify: Option<Notify>,
    /// The same for the detector.
    pub text: String,
    /// Whether rules of the firewall belong to them.
    pub needs_rules: bool,
}

/// Everything the monitor is to do.
pub struct Plan {
    /// The doors.
    pub configuration: Configuration,
    /// The directory where open grants are kept; without one a crash leaves doors open.
    pub state_dir: Option<PathBuf>,
    /// How commands are run.
    pub commands: Options,
    /// How a look at the firewall's rules is started.
    pub firewall: Start,
    /// Where the daemon is asked; nowhere in a dry run.
    pub control: Option<Socket>,
    /// Gets the commands of a dry run, which are not run.
    pub dry_run: Option<DryRun>,
    /// What is needed while it runs.
    pub settings: Settings,
}

/// What is needed of a [`Plan`] as long as the monitor runs.
pub struct Settings {
    /// Whether doors are closed at the end.
    pub close_at_end: bool,
    /// How long the end may take.
    pub stop_timeout: Duration,
    /// How the detector is started.
    pub detector: Start,
    /// The records that are written.
    pub records: Files,
    /// The standard input, if lines are to be read from there.
    pub stdin: Option<OwnedFd>,
    /// Whether the detector comes to an end by itself: it reads nothing but standard input.
    pub has_end: bool,
    /// The sources by number, as they were named.
    pub sources: Vec<String>,
    /// The sockets that the detector makes.
    pub sockets: Vec<PathBuf>,
    /// Sources, by number, that a journalctl may be started for.
    pub journals: Vec<u16>,
    /// Starts one.
    pub journal: StartJournal,
    /// Reads the configuration again, or says what is wrong with it.
    pub reload: Box<dyn FnMut() -> Result<Configuration, String>>,
}

/// How the monitor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A signal said stop, or nothing was left to read.
    Stopped {
        /// Doors that were left open though they were to be closed.
        left: usize,
    },
    /// The first detector ended before it followed, with this exit status.
    NotStarted(Option<i32>),
}

/// Why the monitor did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory.
    #[error(transparent)]
    State(OpenError),
    /// Processes, signals, clocks.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}
