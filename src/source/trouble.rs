//! What keeps a source from its work, each with the sentence for a person.
//!
//! A [`Refusal`] is found when the source is started: the daemon does not start. A [`Trouble`] comes later:
//! the daemon runs on and tries again.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::io::Errno;
use thiserror::Error;

/// How often a file is looked at when the kernel does not tell of changes.
pub(crate) const POLL: std::time::Duration = std::time::Duration::from_millis(250);

/// Whether a source does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It hands over lines as they are written.
    Following,
    /// It does not, or later than it should; it keeps trying.
    Degraded(Trouble),
}

/// What keeps a source from its work. `Display` is the sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Nothing has the file's name.
    #[error("no such file; it is read from its first line when it appears")]
    Missing,
    /// Something else has the file's name.
    #[error("{0} is there instead of a regular file{advice}", advice = .0.advice())]
    NotRegular(FileKind),
    /// The file or a directory on the way may not be read.
    #[error(
        "permission denied; the daemon must be able to read the file and search its directories"
    )]
    Denied,
    /// Opening or reading fails.
    #[error("cannot be read: {0}")]
    Unreadable(Errno),
    /// No further inotify instance may be made, so the file is polled.
    #[error(
        "polled every {} ms: no inotify instance is left; raise the sysctl fs.inotify.max_user_instances",
        POLL.as_millis()
    )]
    Instances,
    /// No further inotify watch may be made, so the file is polled.
    #[error(
        "polled every {} ms: no inotify watch is left; raise the sysctl fs.inotify.max_user_watches",
        POLL.as_millis()
    )]
    Watches,
    /// inotify does not work here, so the file is polled.
    #[error("polled every {} ms: inotify does not work here", POLL.as_millis())]
    Unwatchable,
    /// `journalctl` ended by itself, like this where that is known.
    #[error("{}", ended(*.0))]
    Ended(Option<ExitStatus>),
    /// The journal has no message of the kernel of this boot.
    #[error(
        "the journal has no kernel message of this boot yet; does journald read the kernel's log here?"
    )]
    NoKernelMessages,
    /// The kernel has logged something that the journal does not show.
    #[error(
        "the kernel logs messages that the journal does not show; is journald running, and are its files intact? ('journalctl --verify')"
    )]
    Stuck,
    /// No file matches the pattern.
    #[error("no file matches; each is read from its first line when it appears")]
    NoMatch,
    /// More files match the pattern than are followed, which is this number.
    #[error("more than {0} files match: the others are not followed")]
    TooMany(usize),
    /// One of several files has this trouble.
    #[error("{path}: {1}", path = .0.display())]
    Of(PathBuf, Box<Self>),
    /// The file is a mount of its own, so its successors after a rotation are never seen.
    #[error(
        "the file is a mount of its own, so it is not followed over a rotation; mount its directory instead"
    )]
    MountPoint,
    /// Another host may write the file without this kernel noticing, so it is polled.
    #[error("polled every {poll} ms: it is on {0}, where another host may write it",
        poll = POLL.as_millis())]
    Remote(&'static str),
}

impl Health {
    /// Whether nothing can be read, not even later.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileKind {
    /// A directory.
    #[error("a directory")]
    Directory,
    /// A named pipe.
    #[error("a FIFO")]
    Fifo,
    /// A UNIX socket.
    #[error("a socket")]
    Socket,
    /// A character or block device.
    #[error("a device")]
    Device,
}

impl FileKind {
    /// How it can be read nevertheless.
    const fn advice(self) -> &'static str {
        match self {
            Self::Fifo => "; read it as standard input: --follow - <PATH",
            Self::Directory | Self::Socket | Self::Device => "",
        }
    }
}

fn ended(how: Option<ExitStatus>) -> String {
    match how {
        Some(status) => format!("journalctl ended ({status}) and is started again"),
        None => "journalctl does not start; it is tried again".to_owned(),
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
#[derive(Debug, Error)]
pub enum Refusal {
    /// `/dev/kmsg` may not be read.
    #[error(
        "permission denied; while kernel.dmesg_restrict is 1 it needs CAP_SYSLOG \
             (in a systemd unit AmbientCapabilities=CAP_SYSLOG, and no ProtectKernelLogs=)"
    )]
    KmsgDenied,
    /// There is no `/dev/kmsg`.
    #[error("there is no /dev/kmsg here, as in most containers; follow a log file or journald")]
    KmsgMissing,
    /// A group of NFLOG may not be bound to.
    #[error(
        "permission denied; it needs CAP_NET_ADMIN in this network namespace, at the start only \
             (in a systemd unit AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NflogDenied,
    /// Another socket is bound to the group of NFLOG.
    #[error(
        "another program reads this group, and a group has only one reader; use another number here and in the rule"
    )]
    NflogTaken,
    /// The kernel has no NFLOG.
    #[error("the kernel has no NFLOG here; load the module nfnetlink_log")]
    NflogMissing,
    /// There is no `journalctl`.
    #[error("there is no journalctl here; follow kmsg or a log file")]
    JournalctlMissing,
    /// The journal may not be read.
    #[error(
        "permission denied; the daemon's user must be in the group systemd-journal \
             (in a systemd unit SupplementaryGroups=systemd-journal)"
    )]
    JournalDenied,
    /// `journalctl` does not do what is asked of it, and says this.
    #[error("journalctl fails: {0}")]
    Journalctl(String),
    /// Somebody else listens at the socket's path.
    #[error("another process listens there; name another path")]
    SocketTaken,
    /// Something else has the socket's path.
    #[error("something else than a logknock socket is there; remove it, or name another path")]
    NotOurSocket,
    /// Others may replace what is in the socket's directory.
    #[error("others may write {} and replace the socket; chmod go-w it", .0.display())]
    InsecureDirectory(PathBuf),
    /// The socket cannot be given to the relay.
    #[error("cannot make relay_user the owner of the socket (needs CAP_CHOWN): {0}")]
    Relay(Errno),
    /// The socket cannot be bound.
    #[error("cannot listen there: {0}")]
    Bind(Errno),
    /// The network may send, and no allowed sender is named.
    #[error(
        "any host that reaches this address could send lines; list the allowed ones in [log] udp_peers"
    )]
    NoPeers,
    /// Opening fails otherwise.
    #[error("cannot be read: {0}")]
    Unreadable(Errno),
    /// Threads and descriptors of our own.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What a refused source lacks.
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
    /// What it lacks.
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
