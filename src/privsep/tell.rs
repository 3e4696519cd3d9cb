//! What the runner says.
//!
//! In: what became of commands, the configuration, what is open. Out: messages, and back from their bytes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ask::Last;
use super::message::{boundary, decode, encode};
use crate::engine::action::{Command, GrantId, Outcome};
use crate::engine::time::Time;

/// Longest message of the runner, in bytes.
pub const MAX_TELL: usize = 64 * 1024;
/// How much of the configuration goes into one message: JSON may make six bytes of one.
const PIECE: usize = 8 * 1024;

/// What the runner says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Tell {
    /// First of all.
    Hello {
        /// The version spoken.
        version: u32,
        /// The highest number that a grant ever had.
        last_id: u64,
        /// How often the service manager wants to hear that the loop turns, in milliseconds.
        alive_every: Option<u64>,
        /// How often a follower has been started before this one.
        restarts: u32,
        /// Whether standard input comes with this message.
        stdin: bool,
    },
    /// A grant that is open already.
    Grant(Restored),
    /// At a door, every step of time that begins before this Unix time is used.
    Used {
        /// The door.
        door: String,
        /// In seconds.
        until: i64,
    },
    /// The latest knock of an address at a door that was answered.
    Answered {
        /// The door.
        door: String,
        /// The address.
        src: IpAddr,
        /// When, on the boot clock.
        at: i64,
        /// The packet that completed it.
        last: Last,
    },
    /// A piece of the configuration; it is whole when no more comes.
    Rules {
        /// Whether more comes.
        more: bool,
        /// The piece.
        piece: String,
    },
    /// The configuration was read again and is wrong: nothing has changed.
    NotReloaded(String),
    /// A command of a grant ended.
    Finished {
        /// The grant.
        grant: u64,
        /// Whether it was the command that closes.
        close: bool,
        /// Whether it did what it was for.
        done: bool,
        /// Its exit status, if it had one.
        status: Option<i32>,
    },
    /// The command of a door that holds nothing open ended.
    Ran {
        /// The door.
        door: String,
        /// Whether it did what it was for.
        done: bool,
        /// Its exit status, if it had one.
        status: Option<i32>,
    },
    /// Grants cannot be put on disk, and why.
    Degraded(String),
    /// They can again.
    Recovered,
    /// End within so many milliseconds.
    Stop(u64),
    /// A journalctl has been started; its output comes with this message.
    Journal(u16),
    /// It has not; the kernel's number.
    NoJournal(u16, i32),
    /// It has ended, with this status where that is known.
    JournalEnded(u16, Option<i32>),
}

/// A grant that is open when the follower starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Its number.
    pub id: u64,
    /// Its door.
    pub door: String,
    /// Its address.
    pub src: IpAddr,
    /// When it is to be closed.
    pub deadline: i64,
    /// Whether its open command is known to have succeeded.
    pub proven: bool,
    /// Whether it was opened in an earlier boot.
    pub rebooted: bool,
}

impl Tell {
    /// The end of a command of a grant.
    pub fn finished(grant: GrantId, command: Command, outcome: Outcome) -> Self {
        Self::Finished {
            grant: grant.0,
            close: command == Command::Close,
            done: outcome == Outcome::Done,
            status: None,
        }
    }

    /// Why there is no new configuration, cut to what may be said.
    pub fn not_reloaded(mut why: String) -> Self {
        why.truncate(boundary(&why, PIECE));
        Self::NotReloaded(why)
    }

    /// Its bytes; `None` when they are too many.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        encode(self, MAX_TELL)
    }

    /// What these bytes say.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes, MAX_TELL)
    }
}

impl Restored {
    /// The deadline as a time.
    pub fn deadline(&self) -> Time {
        Time::from_nanos(self.deadline)
    }
}

/// A text in messages of [`Tell::Rules`].
pub fn pieces(text: &str) -> Vec<Tell> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_at(boundary(rest, PIECE));
        rest = after;
        pieces.push(Tell::Rules {
            more: !rest.is_empty(),
            piece: piece.to_owned(),
        });
        if rest.is_empty() {
            return pieces;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_is_wrong_with_a_configuration_it_can_be_said() {
        let why = "\u{1}é".repeat(MAX_TELL);
        let said = Tell::not_reloaded(why.clone());
        let Some(Tell::NotReloaded(read)) = said.encode().and_then(|bytes| Tell::decode(&bytes))
        else {
            panic!("it is no message");
        };
        assert!(why.starts_with(&read) && read.len() > PIECE / 2);
    }
}
