//! What keeps a source from its work, each with the sentence for a person.
//!
//! A [`Refusal`] is found when the source is started: the daemon does not start. A [`Trouble`] comes later:
//! the daemon runs on and tries again.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::{fmt, io};

use rustix::io::Errno;

/// How often a file is looked at when the kernel does not tell of changes.
pub(crate) const POLL: std::time::Duration = std::time::Duration::from_millis(250);

/// Whether a source does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It hands over lines as they are written.
    Following,
    /// It does not, or later than it should; it goes on trying.
    Degraded(Trouble),
}

/// What keeps a source from its work. `Display` is the sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing has the file's name.
    Missing,
    /// Something else has the file's name.
    NotRegular(FileKind),
    /// The file or a directory on the way may not be read.
    Denied,
    /// Opening or reading fails.
    Unreadable(Errno),
    /// No further inotify instance may be made, so the file is polled.
    Instances,
    /// No further inotify watch may be made, so the file is polled.
    Watches,
    /// inotify does not work here, so the file is polled.
    Unwatchable,
    /// `journalctl` ended by itself, like this where that is known.
    Ended(Option<ExitStatus>),
    /// The journal has no message of the kernel of this boot.
    NoKernelMessages,
    /// The kernel has logged something that the journal does not show.
    Stuck,
    /// No file matches the pattern.
    NoMatch,
    /// More files match the pattern than the so many that are followed.
    TooMany(usize),
    /// One of several files has this trouble.
    Of(PathBuf, Box<Self>),
    /// The file is a mount of its own, so its successors after a rotation are never seen.
    MountPoint,
    /// Another host may write the file without this kernel noticing, so it is polled.
    Remote(&'static str),
}

impl Health {
    /// Whether nothing can be read, and not only read later.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Degraded(trouble) if trouble.is_loss())
    }
}

impl Trouble {
    fn is_loss(&self) -> bool {
        match self {
            Self::Missing
            | Self::NotRegular(_)
            | Self::Denied
            | Self::Unreadable(_)
            | Self::Ended(_)
            | Self::NoKernelMessages
            | Self::Stuck
            | Self::NoMatch => true,
            Self::Of(_, trouble) => trouble.is_loss(),
            Self::Instances
            | Self::Watches
            | Self::Unwatchable
            | Self::TooMany(_)
            | Self::MountPoint
            | Self::Remote(_) => false,
        }
    }
}

/// What a path leads to when it is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A character or block device.
    Device,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poll = POLL.as_millis();
        match self {
            Self::Missing => {
                f.write_str("no such file; it is read from its first line when it appears")
            }
            Self::NotRegular(kind @ FileKind::Fifo) => write!(
                f,
                "{kind} is there instead of a regular file; read it as standard input: --follow - <PATH"
            ),
            Self::NotRegular(kind) => write!(f, "{kind} is there instead of a regular file"),
            Self::Denied => f.write_str(
                "permission denied; the daemon must be able to read the file and search its directories",
            ),
            Self::Unreadable(errno) => write!(f, "cannot be read: {errno}"),
            Self::Instances => write!(
                f,
                "polled every {poll} ms: no inotify instance is left; raise the sysctl fs.inotify.max_user_instances"
            ),
            Self::Watches => write!(
                f,
                "polled every {poll} ms: no inotify watch is left; raise the sysctl fs.inotify.max_user_watches"
            ),
            Self::Unwatchable => write!(f, "polled every {poll} ms: inotify does not work here"),
            Self::Ended(Some(status)) => {
                write!(f, "journalctl ended ({status}) and is started again")
            }
            Self::Ended(None) => f.write_str("journalctl does not start; it is tried again"),
            Self::NoKernelMessages => f.write_str(
                "the journal has no kernel message of this boot yet; does journald read them here?",
            ),
            Self::Stuck => f.write_str(
                "the kernel logs and the journal does not show it; is journald running, or a file of it corrupt? ('journalctl --verify')",
            ),
            Self::NoMatch => f.write_str(
                "no file matches; each is read from its first line when it appears",
            ),
            Self::TooMany(most) => {
                write!(f, "more than {most} files match: the others are not followed")
            }
            Self::Of(path, trouble) => write!(f, "{}: {trouble}", path.display()),
            Self::MountPoint => f.write_str(
                "the file is a mount of its own, so it is not followed over a rotation; mount its directory instead",
            ),
            Self::Remote(kind) => write!(
                f,
                "polled every {poll} ms: it is on {kind}, where another host may write it"
            ),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            other => Self::Unreadable(other),
        }
    }
}

/// Why a source cannot be followed. `Display` is what is wrong and what to do.
#[derive(Debug)]
pub enum Refusal {
    /// `/dev/kmsg` may not be read.
    KmsgDenied,
    /// There is no `/dev/kmsg`.
    KmsgMissing,
    /// A group of NFLOG may not be bound to.
    NflogDenied,
    /// Another socket is bound to the group of NFLOG.
    NflogTaken,
    /// The kernel has no NFLOG.
    NflogMissing,
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
pub enum RefusalKind {
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
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::KmsgDenied
            | Self::NflogDenied
            | Self::JournalDenied
            | Self::InsecureDirectory(_)
            | Self::Relay(_)
            | Self::Bind(Errno::ACCESS | Errno::PERM) => RefusalKind::Permission,
            Self::NoPeers => RefusalKind::Configuration,
            Self::System(_) => RefusalKind::System,
            _ => RefusalKind::Source,
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
            Self::NflogDenied => {
                "permission denied; it needs CAP_NET_ADMIN in this network namespace, at the start only \
                 (in a systemd unit AmbientCapabilities=CAP_NET_ADMIN)"
            }
            Self::NflogTaken => {
                "another program has this group, and a group has one reader; use another number here and in the rule"
            }
            Self::NflogMissing => "the kernel has no NFLOG here; load the module nfnetlink_log",
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
