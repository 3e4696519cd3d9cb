//! One line of the journal: a record of what happened to a grant, as JSON, with its checksum last.
//!
//! In: records. Out: lines, and back. A line that is not exactly what was written is no record, so
//! that a flipped digit cannot hold a door open for a century. Every line proves itself: one that is
//! damaged takes none of its neighbours along.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::account::Account;
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
    Opened { id: u64 },
    /// It has another deadline.
    Extend { id: u64, due: Due },
    /// It is over.
    Closed { id: u64 },
    /// A knock was answered.
    Answered(Answered),
    /// Every one-time sequence of a door whose time begins before this Unix time is used.
    Used { door: String, until: i64 },
}

/// Everything that is needed to close a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) id: u64,
    pub(super) door: String,
    pub(super) src: IpAddr,
    pub(super) due: Due,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// Who runs it, if not the daemon itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<User>,
    /// How the ends of its commands are judged.
    #[serde(default, skip_serializing_if = "Judged::is_own")]
    pub(super) judged: Judged,
}

/// [`Judging`] as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Judged {
    #[default]
    Own,
    Firewall,
    Knockd,
}

/// An account, with all that the kernel is told of it: its name may be another's by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) name: Box<str>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: Box<str>,
}

/// The packet that completed a knock, and when that was answered; times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) door: String,
    pub(super) src: IpAddr,
    /// The boot whose clock the next two are on.
    pub(super) boot: Box<str>,
    pub(super) at: i64,
    pub(super) kernel: Option<i64>,
    pub(super) header: Option<i64>,
    pub(super) port: Option<u16>,
}

/// When a grant is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Due {
    /// The boot whose clock the next two are on.
    pub(super) boot: Box<str>,
    /// When this was written, in nanoseconds.
    pub(super) at: i64,
    /// The deadline, in nanoseconds.
    pub(super) deadline: i64,
    /// The deadline in seconds since the Unix epoch, for people.
    pub(super) wall: i64,
}

impl Begin {
    /// All that is needed to close `grant`.
    pub(super) fn of(id: GrantId, grant: &Grant, due: Due) -> Self {
        Self {
            id: id.0,
            door: grant.door.to_string(),
            src: grant.src,
            due,
            argv: grant.close.argv.clone(),
            env: grant.close.env.clone(),
            user: grant.close.account.as_deref().map(User::from),
            judged: match grant.judging {
                Judging::Own => Judged::Own,
                Judging::Firewall => Judged::Firewall,
                Judging::Knockd => Judged::Knockd,
            },
        }
    }

    /// The same for a later run.
    pub(super) fn saved(self, deadline: Time, proven: bool, rebooted: bool) -> SavedGrant {
        SavedGrant {
            id: GrantId(self.id),
            door: self.door.into(),
            src: self.src,
            deadline,
            close: Invocation {
                argv: self.argv,
                env: self.env,
                account: self.user.map(|user| Arc::new(user.into())),
            },
            judging: match self.judged {
                Judged::Own => Judging::Own,
                Judged::Firewall => Judging::Firewall,
                Judged::Knockd => Judging::Knockd,
            },
            proven,
            rebooted,
        }
    }
}

impl Judged {
    /// Whether it is what a line without it means.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference"
    )]
    fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
            home: user.home,
        }
    }
}

impl From<&Account> for User {
    fn from(account: &Account) -> Self {
        Self {
            name: account.name.clone(),
            uid: account.uid,
            gid: account.gid,
            groups: account.groups.clone(),
            home: account.home.clone(),
        }
    }
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
            Self::Begin(begin) => begin.id < MAX_ID && !begin.argv.is_empty(),
            Self::Header { next, .. } => *next <= MAX_ID,
            Self::Opened { id } | Self::Extend { id, .. } | Self::Closed { id } => *id < MAX_ID,
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
