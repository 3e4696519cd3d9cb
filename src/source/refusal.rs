//! Why a source cannot be followed at all, found when it is started.
//!
//! Out: a sentence with what to do, and whether rights are what is missing. What goes wrong later is
//! a [`Trouble`](super::Trouble): the daemon then runs on and tries again.

use std::{fmt, io};

use rustix::io::Errno;

/// Why a source cannot be followed. `Display` is what is wrong and what to do.
#[derive(Debug)]
pub enum Refusal {
    /// `/dev/kmsg` may not be read.
    KmsgDenied,
    /// There is no `/dev/kmsg`.
    KmsgMissing,
    /// There is no `journalctl`.
    JournalctlMissing,
    /// The journal may not be read.
    JournalDenied,
    /// `journalctl` does not do what is asked of it, and says this.
    Journalctl(String),
    /// Sources of this kind are not followed.
    Unsupported,
    /// Opening fails otherwise.
    Unreadable(Errno),
    /// Threads and descriptors of our own.
    System(io::Error),
}

impl Refusal {
    /// Whether the source is there and only the right to read it is missing.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::KmsgDenied | Self::JournalDenied)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KmsgDenied => f.write_str(
                "permission denied; while kernel.dmesg_restrict is 1 it needs CAP_SYSLOG \
                 (in a systemd unit AmbientCapabilities=CAP_SYSLOG, and no ProtectKernelLogs=)",
            ),
            Self::KmsgMissing => f.write_str(
                "there is no /dev/kmsg here, as in most containers; follow a log file or journald",
            ),
            Self::JournalctlMissing => {
                f.write_str("there is no journalctl here; follow kmsg or a log file")
            }
            Self::JournalDenied => f.write_str(
                "permission denied; the daemon's user must be in the group systemd-journal \
                 (in a systemd unit SupplementaryGroups=systemd-journal)",
            ),
            Self::Journalctl(said) => write!(f, "journalctl fails: {said}"),
            Self::Unsupported => f.write_str("cannot be followed yet; follow kmsg or a log file"),
            Self::Unreadable(errno) => write!(f, "cannot be read: {errno}"),
            Self::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
