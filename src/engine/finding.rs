//! What passes between the detection and the grants, which live in two processes.
//!
//! One way [`Finding`]s: what was seen. The other way [`Told`]: the outcome. Nothing here names a grant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answered::Last;
use super::command::Facts;
use super::door::Door;
use super::event::{Event, Whence};
use super::knock::Hit;
use super::one_time::Used;
use super::sequence::{Step, Transport};
use super::time::Time;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[must_use = "a finding that is not handed on is a door that does not open or does not close"]
pub enum Finding {
    /// A door was knocked at.
    Knocked(Knocked),
    /// The first connection came to a door that lets one in.
    Entered {
        /// The door.
        door: Arc<str>,
        /// Whose connection it was.
        src: IpAddr,
        /// Its line.
        whence: Whence,
    },
    /// One hit too many came to a door that counts.
    Overcount {
        /// The door.
        door: Arc<str>,
        /// For whom it is open.
        src: IpAddr,
        /// The line of the hit.
        whence: Option<Whence>,
    },
    /// Too many codes failed at a door.
    CodesFailed {
        /// The door.
        door: Arc<str>,
        /// Before which Unix time all steps of time are used, in seconds, though they opened nothing.
        until: i64,
    },
}

impl Finding {
    /// The door that it concerns.
    pub fn door(&self) -> &Arc<str> {
        match self {
            Self::Knocked(knocked) => &knocked.facts.door,
            Self::Entered { door, .. }
            | Self::Overcount { door, .. }
            | Self::CodesFailed { door, .. } => door,
        }
    }
}

/// A completed knock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knocked {
    /// The door, the address, and what else the door's commands may know.
    pub facts: Facts,
    /// What is used for it, of sequences that open once.
    pub used: Option<Used>,
    /// An end of its own, which counts where it is earlier than the door's.
    pub until: Option<Time>,
    /// The gateway that opened the door, if it was another one. No detector can say so.
    #[serde(skip)]
    pub origin: Option<Arc<str>>,
    /// The packet that completed it; none when it was done by hand.
    pub last: Option<Last>,
    /// The line that completed it.
    pub whence: Option<Whence>,
}

impl Knocked {
    /// One that `hit` completes at `door`.
    pub(super) fn by_hit(hit: &Hit<'_>, door: &Door) -> Self {
        let facts = Facts {
            src: hit.src,
            dst: hit.dst,
            step: hit.step,
            interface: String::from_utf8_lossy(hit.interface).into(),
            door: Arc::clone(&door.name),
            hold: door.hold(hit.src),
        };
        Self {
            last: Some(Last::of(hit)),
            ..Self::with(facts)
        }
    }

    /// A completed knock at `door`: its commands get what the last right knock would have given them, as far as the
    /// door fixes it.
    pub fn by_hand(src: IpAddr, door: &Door) -> Self {
        let anywhere = match src {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let nowhere = Step {
            port: 0,
            transport: Transport::Tcp,
        };
        Self::with(Facts {
            src,
            dst: door.scope.target.unwrap_or(anywhere),
            step: door.rule.last_step().unwrap_or(nowhere),
            interface: door.scope.interface.clone().unwrap_or_default(),
            door: Arc::clone(&door.name),
            hold: door.hold(src),
        })
    }

    const fn with(facts: Facts) -> Self {
        Self {
            facts,
            used: None,
            until: None,
            origin: None,
            last: None,
            whence: None,
        }
    }
}

/// What to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Told {
    /// Something happened at a door.
    Event(Event),
    /// The open command of a grant has succeeded.
    Opened(Arc<str>, IpAddr),
    /// A close command failed too often and is not tried again.
    GaveUp(Arc<str>, IpAddr),
}
