//! Why a line or a packet was not a knock, and how often each was the reason.
//!
//! One closed list for the whole walk, so that `status`, `parse`, `replay` and the metrics count
//! with the same words, which are made of its names. Nothing here carries text from a line: a counter cannot leak a prefix.

use strum::{IntoStaticStr, VariantArray};

/// Why something that looked like a packet line was not counted as a knock.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Longer than a line may be; dropped to the next newline.
    TooLong,
    /// Ended without a newline when its file was left.
    Partial,
    /// The transport says that the kernel did not write it (journald, kmsg).
    Transport,
    /// Its syslog facility is known and not the kernel's.
    Facility,
    /// Behind another program's tag.
    Program,
    /// Behind a header of a form that is not read: the log prefix stands further on.
    Header,
    /// One line of a record of several lines, which does not say who wrote it.
    Multiline,
    /// Sent by a peer that is not allowed to.
    Peer,
    /// A syslog daemon's "message repeated" wrapper around a line already counted.
    Repeated,
    /// Not the kernel's grammar from its first byte to its last.
    Grammar,
    /// It ends before the last field that such a line must have.
    Truncated,
    /// The log prefix is not the configured one at column 0.
    Prefix,
    /// Not arriving at this host: `IN=` empty or `OUT=` set.
    Forwarded,
    /// From an address that no stranger can have: multicast, broadcast, unspecified, or its own target.
    Never,
    /// Neither TCP nor UDP.
    Protocol,
    /// TCP or UDP without ports: a later fragment, or a header that was cut.
    #[strum(serialize = "noport")]
    NoPort,
    /// Older than `max_line_age`.
    Stale,
    /// Stamped later than now.
    Future,
    /// The same packet again: a retransmission, or logged twice.
    Duplicate,
    /// Read again after a restart, and perhaps of a knock that was answered before.
    Answered,
}

impl Reason {
    /// Every reason, in the order of the walk.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word used in JSON, tables and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The reason whose word is `word`.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == word)
    }

    /// What it means, for somebody whose line did not count.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::TooLong => "the line is longer than any packet line",
            Self::Partial => "the line has no newline: it is incomplete",
            Self::Transport => "the transport says that the kernel did not write it",
            Self::Facility => "its syslog facility is not the kernel's",
            Self::Program => "another program wrote the line",
            Self::Header => "the form of its header is unknown; see format in logknock.toml(5)",
            Self::Multiline => {
                "its record has several lines; write the log with journalctl -k -o short-iso, or with dmesg without -J"
            }
            Self::Peer => "its sender is not one that may send lines",
            Self::Repeated => {
                "the syslog has replaced repeated lines by this one, and their number and times are lost"
            }
            Self::Grammar => "it does not match the kernel's grammar of a packet line",
            Self::Truncated => "the line is cut off: its last field is missing",
            Self::Prefix => "its log prefix differs from the configured one",
            Self::Forwarded => "the packet was not for this host (IN= empty, or OUT= set)",
            Self::Never => "no single host can send from this address",
            Self::Protocol => "it is neither TCP nor UDP",
            Self::NoPort => "it has no ports: a fragment, or a header that was cut",
            Self::Stale => "it is older than max_line_age; is a clock wrong?",
            Self::Future => "its stamp is in the future; is a clock wrong?",
            Self::Duplicate => {
                "the same packet was seen before: it was sent again, or logged twice"
            }
            Self::Answered => {
                "it was read again after a restart, and its knock may have been answered before"
            }
        }
    }
}

/// Why one door does not count a hit that has the port of one of its knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DoorReason {
    /// Its TCP flags are not those of `tcpflags`.
    Flags,
    /// It arrived at another interface than `interface`.
    Interface,
    /// It went to another address than `target`.
    Target,
    /// Its port is one of `public`.
    Public,
    /// `allow` and `deny` keep its sender out.
    Address,
    /// It came by the other transport.
    Transport,
    /// Its line is of a source that has other doors.
    Source,
    /// Its sender is locked out.
    LockedOut,
    /// The door has opened for its sender, and its `cooldown` runs.
    Cooldown,
}

impl DoorReason {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How often each [`Reason`] was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Reason::ALL.len()]);

impl Tally {
    /// Counts `reason` once more.
    pub fn add(&mut self, reason: Reason) {
        self.add_many(reason, 1);
    }

    /// Counts `reason` `times` more.
    pub fn add_many(&mut self, reason: Reason, times: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count = count.saturating_add(times);
        }
    }

    /// How often `reason` was given.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// The reasons that were given at all, in the order of the walk.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL
            .iter()
            .map(|&reason| (reason, self.of(reason)))
            .filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
#[path = "reason_test.rs"]
mod tests;
