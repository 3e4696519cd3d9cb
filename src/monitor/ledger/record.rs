//! One line of the journal: a record of what happened to a grant, as JSON, with its checksum last.
//!
//! In: records. Out: lines, and back. A line that is not exactly what was written is no record, so that a flipped
//! digit cannot hold a door open for a century. Every line proves itself: a damaged record does not affect its
//! neighbours.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::account::Account;
use crate::engine::answered::Last;
use crate::engine::command::Invocation;
use crate::engine::door::Judging;
use crate::engine::grant::{Grant, GrantId, SavedGrant};
use crate::engine::time::Time;

/// The layout that this program writes.
pub(super) const VERSION: u32 = 1;

/// Numbers from here on are not ours: JSON readers everywhere hold the ones below exactly.
pub(super) const MAX_ID: u64 = 1 << 53;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub(super) enum Record {
    /// The first line of a journal.
    Header {
        version: u32,
        /// The lowest number that no grant has had.
        next: u64,
    },
    /// Its open command is about to run.
    Begin(Begin),
    /// Its open command has succeeded.
    Opened { id: GrantId },
    /// It has another deadline.
    Extend {
        id: GrantId,
        due: Due,
        /// The gateway that moved it, if it was another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Box<str>>,
    },
    /// It is over.
    Closed { id: GrantId },
    /// A knock was answered.
    Answered(Answered),
    /// Every one-time sequence of a door whose time begins before this Unix time is used.
    Used { door: Arc<str>, until: i64 },
}

/// Everything that is needed to close a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) id: GrantId,
    pub(super) door: Arc<str>,
    pub(super) src: IpAddr,
    pub(super) due: Due,
    /// The gateway whose grant it is, if it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<Box<str>>,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// The user that runs it, if not the daemon's, with all ids that the kernel needs: its name may be another's by
    /// then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Arc<Account>>,
    /// How the ends of its commands are judged.
    #[serde(default, skip_serializing_if = "is_own")]
    pub(super) judged: Judging,
}

/// The packet that completed a knock, and when that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) door: Arc<str>,
    pub(super) src: IpAddr,
    /// The boot whose clock the next two are on.
    pub(super) boot: Box<str>,
    pub(super) at: Time,
    #[serde(flatten)]
    pub(super) last: Last,
}

/// When a grant is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Due {
    /// The boot whose clock the next two are on.
    pub(super) boot: Box<str>,
    /// When this was written.
    pub(super) at: Time,
    /// The deadline.
    pub(super) deadline: Time,
    /// The deadline in seconds since the Unix epoch, for people.
    pub(super) wall: i64,
}

impl Begin {
    /// All that is needed to close `grant`.
    pub(super) fn of(id: GrantId, grant: &Grant, due: Due) -> Self {
        Self {
            id,
            door: Arc::clone(&grant.door),
            src: grant.src,
            due,
            origin: grant.origin.as_deref().map(Box::from),
            argv: grant.close.argv.clone(),
            env: grant.close.env.clone(),
            user: grant.close.account.clone(),
            judged: grant.judging,
        }
    }

    /// The same for a later run.
    pub(super) fn saved(self, deadline: Time, proven: bool, rebooted: bool) -> SavedGrant {
        SavedGrant {
            id: self.id,
            door: self.door,
            src: self.src,
            deadline,
            origin: self.origin.map(Arc::from),
            close: Invocation {
                argv: self.argv,
                env: self.env,
                account: self.user,
            },
            judging: self.judged,
            proven,
            rebooted,
        }
    }
}

/// Whether a grant is judged as a line says that does not say how.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_own(judged: &Judging) -> bool {
    *judged == Judging::Own
}

const SUM: &str = ",\"sum\":\"";
const END: &str = "\"}";

impl Record {
    /// Appends the line for this record.
    pub(super) fn write(&self, lines: &mut Vec<u8>) {
        let Ok(mut body) = serde_json::to_vec(self) else {
            return; // there is no map with other keys than strings in it, so this cannot be
        };
        body.pop();
        let sum = checksum(&body);
        lines.extend(body);
        lines.extend(format!("{SUM}{sum:016x}{END}\n").bytes());
    }

    /// The record on `line`, which has no newline; `None` when it is not exactly what was written.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let body = line.len().checked_sub(SUM.len() + 16 + END.len())?;
        let (body, tail) = line.split_at_checked(body)?;
        let sum = tail.strip_prefix(SUM.as_bytes())?;
        let sum = sum.strip_suffix(END.as_bytes())?;
        if sum != format!("{:016x}", checksum(body)).as_bytes() {
            return None;
        }
        let record: Self = serde_json::from_slice(&[body, b"}"].concat()).ok()?;
        record.is_sound().then_some(record)
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Begin(begin) => begin.id.0 < MAX_ID && !begin.argv.is_empty(),
            Self::Header { next, .. } => *next <= MAX_ID,
            Self::Opened { id } | Self::Extend { id, .. } | Self::Closed { id } => id.0 < MAX_ID,
            Self::Answered(_) | Self::Used { .. } => true,
        }
    }
}

/// FNV-1a. Every step is a bijection, so one changed byte always changes the sum. It guards against
/// a failing disk, not against a person: who may write here may run anything.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
