//! What can be wrong with the ledger, as data and as sentences.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::io::Errno;

use super::Damage;

/// Something about the state directory that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The journal was damaged. The grants of its good lines are honoured; others may have been lost.
    SetAside {
        /// What is wrong with it.
        damage: Damage,
        /// The file in the state directory that holds it now, if there could be one.
        name: Option<Box<str>>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::SetAside { damage, name } = self;
        write!(
            f,
            "the record of open doors was damaged: {damage}; what could be read of it is honoured"
        )?;
        name.as_ref()
            .map_or(Ok(()), |name| write!(f, ", and it is kept as '{name}'"))
    }
}

/// Why the ledger cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Another instance holds it; its process, if it could be told.
    Locked(Option<u32>),
    /// Others may write in the state directory: they could have any command run.
    Insecure(PathBuf),
    /// It cannot be read or written.
    Failed {
        /// The state directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn failed(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Failed { path, error }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(Some(pid)) => write!(f, "another instance is running: process {pid}"),
            Self::Locked(None) => f.write_str("another instance is running"),
            Self::Insecure(path) => write!(
                f,
                "state directory '{}' can be written by others; it must belong to root or to the user \
                 logknock runs as, with mode 0700",
                path.display()
            ),
            Self::Failed { path, .. } => {
                write!(f, "cannot keep open grants in '{}'", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Locked(_) | Self::Insecure(_) => None,
        }
    }
}

/// The disk refuses: nothing is opened until it is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble(i32);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.0);
        write!(f, "cannot put grants on disk: {error}")
    }
}

impl std::error::Error for Trouble {}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}
