//! knockd.conf, read as knockd 0.8 reads it.
//!
//! In: a file in knockd's words. Out: the same [`super::schema::Schema`] that a TOML file becomes, so that every rule
//! about doors is looked at once; and before that, warnings about lines that knockd silently misreads. Where knockd
//! refuses to start, this is an error. The walk is `form`, `lines`, `read` with `door` and `sequence`; `toml` writes
//! a schema down again.

mod door;
mod form;
mod lines;
mod read;
mod sequence;
mod toml;

use super::report::{Finding, Span, warning};

pub(super) use form::{is_knockd, is_uci};
pub(super) use lines::{Line, Word, lines};
pub(super) use read::read;
pub(super) use toml::{check, write};

/// What is said of a key that is given again.
fn given_again(at: Span) -> Finding {
    warning(at, "given again below: knockd takes the last one").fix("remove one of them")
}

/// knockd's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    UseSyslog,
    LogFile,
    PidFile,
    Interface,
    Sequence,
    OneTimeSequences,
    SeqTimeout,
    TcpFlags,
    Target,
    StartCommand,
    StartCommand6,
    CmdTimeout,
    StopCommand,
    StopCommand6,
}

impl Key {
    /// Of `[options]`.
    const OPTIONS: [(&'static str, Self); 4] = [
        ("usesyslog", Self::UseSyslog),
        ("logfile", Self::LogFile),
        ("pidfile", Self::PidFile),
        ("interface", Self::Interface),
    ];

    /// Of a door; knockd takes `UseSyslog` anywhere.
    const DOOR: [(&'static str, Self); 14] = [
        ("sequence", Self::Sequence),
        ("one_time_sequences", Self::OneTimeSequences),
        ("seq_timeout", Self::SeqTimeout),
        ("timeout", Self::SeqTimeout),
        ("tcpflags", Self::TcpFlags),
        ("target", Self::Target),
        ("start_command", Self::StartCommand),
        ("command", Self::StartCommand),
        ("start_command_6", Self::StartCommand6),
        ("command_6", Self::StartCommand6),
        ("cmd_timeout", Self::CmdTimeout),
        ("stop_command", Self::StopCommand),
        ("stop_command_6", Self::StopCommand6),
        ("usesyslog", Self::UseSyslog),
    ];

    /// The key that `name` means, in whatever section; capitals are as good.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let mut keys = Self::OPTIONS.iter().chain(&Self::DOOR);
        keys.find(|(known, _)| *known == name).map(|(_, key)| *key)
    }

    /// Whether its value is a command, of which anything may be part.
    pub(super) fn is_command(self) -> bool {
        matches!(
            self,
            Self::StartCommand | Self::StartCommand6 | Self::StopCommand | Self::StopCommand6
        )
    }
}
