//! Why a source cannot be followed at all, found when it is started.
//!
//! Out: a sentence with what to do, and of which kind it is. What goes wrong later is a
//! [`Trouble`](super::Trouble): the daemon then runs on and tries again.

use std::path::PathBuf;
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
    /// Somebody else listens at the socket's path.
    SocketTaken,
    /// Something else has the socket's path.
    NotOurSocket,
    /// Others may replace what is in the socket's directory.
    InsecureDirectory(PathBuf),
    /// The socket cannot be given to the relay.
    Relay(Errno),
    /// The socket cannot be bound.
    Bind(Errno),
    /// The network may send, and nobody is named who is believed.
    NoPeers,
    /// Opening fails otherwise.
    Unreadable(Errno),
    /// Threads and descriptors of our own.
    System(io::Error),
}

/// What is missing where a source is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A right.
    Permission,
    /// The source.
    Source,
    /// Something in the configuration.
    Configuration,
    /// Something of our own.
    System,
}

impl Refusal {
    /// What is missing.
    pub fn kind(&self) -> Kind {
        match self {
            Self::KmsgDenied
            | Self::JournalDenied
            | Self::InsecureDirectory(_)
            | Self::Relay(_)
            | Self::Bind(Errno::ACCESS | Errno::PERM) => Kind::Permission,
            Self::NoPeers => Kind::Configuration,
            Self::System(_) => Kind::System,
            _ => Kind::Source,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KmsgDenied => {
                "permission denied; while kernel.dmesg_restrict is 1 it needs CAP_SYSLOG \
                 (in a systemd unit AmbientCapabilities=CAP_SYSLOG, and no ProtectKernelLogs=)"
            }
            Self::KmsgMissing => {
                "there is no /dev/kmsg here, as in most containers; follow a log file or journald"
            }
            Self::JournalctlMissing => "there is no journalctl here; follow kmsg or a log file",
            Self::JournalDenied => {
                "permission denied; the daemon's user must be in the group systemd-journal \
                 (in a systemd unit SupplementaryGroups=systemd-journal)"
            }
            Self::Journalctl(said) => return write!(f, "journalctl fails: {said}"),
            Self::SocketTaken => "another process listens there; give each a path of its own",
            Self::NotOurSocket => {
                "something that is no socket of ours is there; remove it, or name another path"
            }
            Self::InsecureDirectory(path) => {
                let path = path.display();
                return write!(f, "others may write {path} and replace the socket; chmod go-w it");
            }
            Self::Relay(errno) => {
                return write!(f, "cannot give the socket to relay_user, which needs CAP_CHOWN: {errno}");
            }
            Self::Bind(errno) => return write!(f, "cannot listen there: {errno}"),
            Self::NoPeers => {
                "whoever reaches this address could send lines; name those who may in [log] udp_peers"
            }
            Self::Unreadable(errno) => return write!(f, "cannot be read: {errno}"),
            Self::System(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for Refusal {}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
