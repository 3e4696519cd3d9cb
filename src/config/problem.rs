//! Everything that can be wrong with a config, as data.
//!
//! In: what a rule found out. Out: whether the config can be used all the same, and what kind of
//! failure it is if not; the words are in [`super::wording`]. No variant carries a port, a step, a
//! prefix or a command: names of keys, doors and files, and a network, are the most that it repeats.

use std::io;
use std::time::Duration;

use crate::dialect::PatternError;
use crate::engine::command::TemplateError;
use crate::source_spec::SourceSpecError;

use super::diagnostic::{ErrorKind, Severity};
use super::duration::DurationError;
use super::knockd::Trap;
use super::prefix::PrefixError;

/// Something wrong.
#[derive(Debug)]
pub(super) enum Problem {
    /// The file is not there.
    Missing,
    /// The file is there and cannot be read.
    Unreadable(io::Error),
    /// A directory, a device, a FIFO.
    NotAFile,
    /// More bytes than a config has.
    TooLarge,
    /// No text.
    NotUtf8,
    /// It belongs to somebody who has no business here.
    Owner { uid: u32, path: String },
    /// Group or others have write permission.
    WritableByOthers { path: String },
    /// Others have read permission.
    ReadableByOthers { path: String },
    /// No file has a door.
    NoDoor,

    /// No TOML; the parser's words, which are constant.
    Syntax(String),
    /// A key that does not exist where it stands.
    UnknownKey(UnknownKey),
    /// A section's name with a value.
    NotATable { section: &'static str },
    /// Keys in `[door]`, or `[[door]]`.
    DoorWithoutName,
    /// A name that no door can have.
    DoorName,
    /// The door is in another file already.
    DuplicateDoor { door: String, path: String },
    /// `sequence` in `[defaults]`.
    SequenceInDefaults,
    /// A string for a boolean and the like.
    WrongType {
        expected: &'static str,
        found: &'static str,
    },

    /// No duration.
    Duration(DurationError),
    /// A duration that this key cannot have.
    DurationRange { least: Duration, most: Duration },
    /// A number that this key cannot have.
    Range { least: i64, most: i64 },
    /// None of the words that this key can have.
    Choice {
        words: Vec<&'static str>,
        nearest: Option<&'static str>,
    },
    /// An array longer than anybody needs.
    TooMany { what: &'static str, most: usize },
    /// No source.
    Source(SourceSpecError),
    /// A source whose path depends on the working directory.
    RelativeSource,
    /// A path that depends on the working directory, or none at all.
    Path,
    /// No group's name.
    Group,
    /// Nobody to run a command or to take lines from.
    User(UserFlaw),
    /// The same source again.
    RepeatedSource,
    /// A UDP source open to the network, and nobody who may send to it.
    NoUdpPeers,
    /// No prefix.
    Prefix(PrefixError),
    /// No regex for lines.
    Format(PatternError),
    /// `[log.format]` without regex and json, or with both.
    FormatTable,
    /// A key of `[log.format]` that does not exist; those that do.
    FormatKey(&'static str),
    /// `[log.format] json` without the key of its message.
    NoMessageKey,
    /// An empty sequence.
    NoStep,
    /// A step, counted from 1, that is none.
    Step { number: usize, flaw: StepFlaw },
    /// No groups to count.
    NoCount,
    /// A group, counted from 1, that is no count.
    Count { number: usize },
    /// A lockout with other keys than it has.
    LockoutKeys,
    /// Something about a `totp`.
    Totp(TotpFlaw),
    /// A file that is named here cannot be used.
    Named,
    /// A line of a list, counted from 1, that is no sequence.
    ListLine { number: u32 },
    /// A line of a list, counted from 1, that says what an earlier one says.
    ListTwice { number: u32 },
    /// A list of which nothing is left.
    ListEmpty,
    /// A port to open that is none.
    Opens { flaw: StepFlaw },
    /// A flag that a packet must have and must not have.
    Contradiction { flag: &'static str },
    /// No interface name.
    Interface,
    /// No address.
    Target,
    /// An address that nobody can knock at.
    TargetNever,
    /// No network.
    Network,
    /// A network written with an address in it.
    HostBits { network: String },
    /// `[firewall]` without its backend.
    FirewallWithoutBackend,
    /// `allow = []`.
    AllowNobody,
    /// A command string that cannot be split.
    Quotes,
    /// An array where a shell needs a string.
    ShellArray,
    /// No command.
    Command(TemplateError),

    /// What only a knockd.conf can have.
    Knockd(Trap),

    /// Keys of one door that do not go together.
    Door { door: String, flaw: DoorFlaw },
}

/// What is wrong with a user.
#[derive(Debug)]
pub(super) enum UserFlaw {
    /// No name that one can have.
    Name,
    /// Not on this machine.
    Missing(Box<str>),
    /// One whom we have no right to become.
    Other(Box<str>),
}

/// Why a step is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum StepFlaw {
    /// Not written as one.
    Form,
    /// No port has this number.
    Port,
    /// Neither TCP nor UDP.
    Protocol,
}

/// What is wrong with a `totp`.
#[derive(Clone, Copy, Debug)]
pub(super) enum TotpFlaw {
    /// A key that it does not have.
    Key,
    /// No secret, or two.
    OneSecret,
    /// A secret that is not base32.
    Base32,
    /// A secret that could be tried through.
    Short,
    /// No range of ports.
    Ports,
    /// Neither TCP nor UDP.
    Proto,
    /// So few sequences that one could be guessed.
    Guessable,
}

/// What is wrong with a door as a whole.
#[derive(Debug)]
pub(super) enum DoorFlaw {
    /// Its steps, each `min_gap` behind the other, do not fit into `seq_timeout`.
    GapBeyondWindow,
    /// `min_gap` is longer than `knock_timeout`.
    GapBeyondKnockTimeout,
    /// `allow`, `deny` and `target` leave no address.
    NobodyAllowed,
    /// It cannot be knocked at.
    NoSequence,
    /// It can be knocked at in two ways.
    TwoRules,
    /// `counts` without `port`.
    NoPort,
    /// A key about another way of knocking.
    OtherRule { key: &'static str },
    /// It does nothing.
    NoStartCommand,
    /// It has `opens` and commands.
    OpensAndCommand,
    /// It has `opens` and a `user`.
    OpensAndUser,
    /// It has `opens`, and nothing says where.
    NoBackend,
    /// It is to let in one connection, and nothing says to which port.
    OnceWithoutOpens,
    /// It is to stay open for longer than the backend can have it.
    HoldBeyondBackend { most: u64 },
    /// It is knocked at a port that is open to everybody.
    PublicKnock,
    /// It opens a port that is open to everybody.
    PublicOpens,
    /// Another door opens one of its ports, and what they open is one thing.
    SamePort { other: String },
    /// It closes what it never opened.
    StopWithoutStart { family: &'static str },
    /// It closes for one family only.
    StaysOpen { family: &'static str },
    /// A key about holding open, at a door that holds nothing open.
    NoEffect { key: &'static str },
    /// A sequence of one.
    OneStep,
    /// A sequence that a scan in the order of the ports walks through.
    InOrder,
    /// Another door has the same sequence.
    SameSequence { other: String },
}

/// A key that does not exist where it stands.
#[derive(Debug)]
pub(super) struct UnknownKey {
    /// Its name, if it looks like a name and not like a lost value.
    pub(super) name: Option<String>,
    /// `in [log]` and the like.
    pub(super) section: String,
    /// The valid name that it may have been meant for.
    pub(super) nearest: Option<&'static str>,
    /// Where it would be valid.
    pub(super) elsewhere: Option<&'static str>,
    /// What is valid here.
    pub(super) valid: Vec<&'static str>,
}

impl Problem {
    /// Whether the config can be used all the same.
    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::ReadableByOthers { .. }
            | Self::RepeatedSource
            | Self::HostBits { .. }
            | Self::ListLine { .. }
            | Self::ListTwice { .. }
            | Self::ListEmpty
            | Self::Totp(TotpFlaw::Short | TotpFlaw::Guessable) => Severity::Warning,
            Self::Knockd(trap) => trap.severity(),
            Self::Door { flaw, .. } => flaw.severity(),
            _ => Severity::Error,
        }
    }

    /// What kind of failure it is.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing => ErrorKind::Missing,
            Self::Owner { .. } | Self::WritableByOthers { .. } => ErrorKind::Permission,
            Self::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                ErrorKind::Permission
            }
            _ => ErrorKind::Invalid,
        }
    }
}

impl DoorFlaw {
    fn severity(&self) -> Severity {
        match self {
            Self::StaysOpen { .. }
            | Self::NoEffect { .. }
            | Self::OtherRule { .. }
            | Self::OneStep
            | Self::InOrder
            | Self::SamePort { .. }
            | Self::SameSequence { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }
}
