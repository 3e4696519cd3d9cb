//! Errors of the ledger, as data and as sentences.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use super::Damage;

/// The journal was damaged. The grants of its good lines are honoured; others may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the ledger of open doors was damaged: {damage}; what could be read of it is used{}",
    self.kept()
)]
pub struct Notice {
    /// What is wrong with it.
    pub damage: Damage,
    /// The file in the state directory that holds it now, if there could be one.
    pub name: Option<Box<str>>,
}

impl Notice {
    fn kept(&self) -> String {
        let kept = |name| format!(", and the damaged file is kept as '{name}'");
        self.name.as_ref().map(kept).unwrap_or_default()
    }
}

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another instance holds it; its process, if known.
    #[error(
        "another instance is running{}",
        .0.map(|pid| format!(": process {pid}")).unwrap_or_default()
    )]
    Locked(Option<u32>),
    /// Others may write in the state directory: they could have any command run.
    #[error(
        "state directory '{}' can be written by others; it must belong to root or to the user \
         logknock runs as, with mode 0700",
        .0.display()
    )]
    Insecure(PathBuf),
    /// It cannot be read or written.
    #[error("cannot store grants in '{}': {error}", .path.display())]
    Failed {
        /// The state directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn failed(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Failed { path, error }
    }
}

/// The disk refuses: nothing is opened until it is well again; the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot write grants to disk: {}", io::Error::from_raw_os_error(*.0))]
pub struct Trouble(i32);

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}
