//! Everything worth telling a human, as data without wording.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::reason::DoorReason;
use super::time::Time;

/// Something that happened at a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, on the engine's clock.
    pub at: Time,
    /// The door's name.
    pub door: Arc<str>,
    /// The address.
    pub src: IpAddr,
    /// What.
    pub kind: EventKind,
    /// The line that caused it; `None` when time did.
    pub whence: Option<Whence>,
}

/// Which line of which source, as the caller counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whence {
    /// The caller's number of the source.
    pub source: u16,
    /// The line's number in it, from 1.
    pub line: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum EventKind {
    /// A knock was right: `stage` of `of` are done.
    Stage {
        /// Steps done.
        stage: usize,
        /// Steps there are.
        of: usize,
    },
    /// The door opens for the address.
    Open,
    /// It was open and stays so for longer.
    Refresh,
    /// It closes.
    Close,
    /// An attempt that had reached `stage` of `of` is over.
    Reset {
        /// Steps that were done.
        stage: usize,
        /// Steps there are.
        of: usize,
        /// Why.
        reason: ResetReason,
    },
    /// Too many attempts failed: the address is not listened to for a while.
    LockedOut,
    /// Too many codes failed, by all addresses together: the door takes none for a while.
    CodesRefused,
    /// A right sequence was not answered.
    Refused {
        /// Why not.
        reason: RefusedReason,
    },
}

impl EventKind {
    /// Whether any stranger can cause it.
    pub const fn is_cheap(self) -> bool {
        matches!(self, Self::Stage { .. } | Self::Reset { .. })
    }

    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// How far the attempt is or was: steps done, and steps there are.
    pub const fn progress(self) -> Option<(usize, usize)> {
        match self {
            Self::Stage { stage, of } | Self::Reset { stage, of, .. } => Some((stage, of)),
            _ => None,
        }
    }

    /// The word for why, where there is a reason.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Reset { reason, .. } => Some(reason.as_str()),
            Self::Refused { reason } => Some(reason.as_str()),
            _ => None,
        }
    }
}

/// An event that `[notify]` can report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A door was opened for an address.
    Open,
    /// A close command failed.
    CloseFailed,
    /// A source cannot be read any more.
    SourceLost,
    /// Somebody took our rules out of the firewall.
    FirewallFlushed,
    /// A door refuses every code for a while, as too many failed.
    CodesRefused,
}

impl Occasion {
    /// Every occasion.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::CloseFailed,
        Self::SourceLost,
        Self::FirewallFlushed,
        Self::CodesRefused,
    ];

    /// The word for it, and a sentence.
    pub const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Open => ("open", "a door was opened"),
            Self::CloseFailed => ("close_failed", "closing a door failed"),
            Self::SourceLost => ("source_lost", "a source cannot be read"),
            Self::FirewallFlushed => ("firewall_flushed", "our firewall rules are gone"),
            Self::CodesRefused => ("codes_refused", "too many codes failed at a door"),
        }
    }
}

/// How a door takes a hit on a port of its knock, without regard to earlier knocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The door's name.
    pub door: Arc<str>,
    /// Which of its knocks that is, from 1; `None` where knocks have no fixed ports.
    pub step: Option<usize>,
    /// How many knocks it takes.
    pub of: usize,
    /// Why the door does not count it.
    pub reason: Option<DoorReason>,
    /// For how much longer it does not.
    pub left: Option<Duration>,
}

/// Why a right sequence did not open the door.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RefusedReason {
    /// There is no room for another grant.
    Full,
    /// It opens once, and has been used, or one after it.
    Used,
    /// Too many codes have failed at the door.
    FailedCodes,
    /// It opens once, and another gateway of the fleet has used it.
    #[strum(serialize = "used_elsewhere")]
    Elsewhere,
    /// It opens once, and no other gateway can be asked whether it was used.
    NoBus,
}

impl RefusedReason {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why an attempt ended before its last step.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ResetReason {
    /// A hit that was not the next step.
    WrongPort,
    /// The window ended.
    Timeout,
    /// Sooner after the last knock than `min_gap`.
    TooFast,
    /// One hit too many within the window after the door opened; it closes again.
    Overcount,
    /// Later after the last knock than `knock_timeout`.
    Gap,
    /// The table was full, and this was the least advanced and oldest entry.
    Evicted,
}

impl ResetReason {
    /// The word used in JSON and tables.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
