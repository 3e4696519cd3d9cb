//! What the follower asks for.
//!
//! In: [`Action`]s, and bytes of the follower. Out: a message, or nothing: every field is a number, an
//! address, a word of the protocol or a text with a bound, and anything else is no message.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{boundary, decode, encode};
use crate::engine::action::Action;
use crate::engine::answered;
use crate::engine::command::Facts;
use crate::engine::one_time::{Token, Used};
use crate::engine::sequence::{Step, Transport};
use crate::engine::time::Time;

/// Longest message of the follower, in bytes.
pub const MAX_ASK: usize = 4 * 1024;
/// Longest place in a journal, in bytes.
pub const MAX_CURSOR: usize = 512;
/// Longest line about our state, in bytes.
const MAX_STATUS: usize = 1024;
/// Longest name of a door, in bytes.
const MAX_NAME: usize = 64;
/// Longest name of an interface (the kernel's `IFNAMSIZ`, without its end), in characters.
const MAX_INTERFACE: usize = 15;

/// What the follower asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// [`Action::Open`].
    Open {
        /// The number of the new grant.
        grant: u64,
        /// The knock.
        knock: Knock,
        /// When it is to be closed, on the boot clock, in nanoseconds.
        deadline: i64,
        /// What is used for it, of sequences that open once.
        spend: Option<Spend>,
        /// The packet that completed it.
        last: Option<Last>,
    },
    /// [`Action::Run`].
    Run {
        /// The knock.
        knock: Knock,
        /// What is used for it.
        spend: Option<Spend>,
        /// The packet that completed it.
        last: Option<Last>,
    },
    /// [`Action::Spend`].
    Spend {
        /// The door.
        door: String,
        /// What is used.
        spend: Spend,
    },
    /// [`Action::Refresh`].
    Refresh(Knock),
    /// [`Action::Extend`].
    Extend {
        /// The grant.
        grant: u64,
        /// Its new deadline.
        deadline: i64,
        /// The packet that completed the knock.
        last: Option<Last>,
    },
    /// [`Action::Close`].
    Close(u64),
    /// [`Action::Forget`].
    Forget(u64),
    /// It is confined and follows its sources.
    Started,
    /// Read the configuration again: somebody has asked for it over the control socket.
    Reload,
    /// To be passed on to the service manager.
    Notice(Notice),
    /// Start a journalctl for a source of this number.
    Journal {
        /// The source, as the configuration counts them.
        source: u16,
        /// What it is to show.
        read: Read,
    },
    /// End the journalctl of this source, if it has not ended, and say how.
    JournalEnd {
        /// The source.
        source: u16,
        /// Whether it is the one that shows the latest entry.
        latest: bool,
    },
    /// Nothing more comes: it ends now.
    Done,
}

/// A completed knock: a configured door, and what its commands may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knock {
    /// The door's name.
    pub door: String,
    /// Who knocked.
    pub src: IpAddr,
    /// Where.
    pub dst: IpAddr,
    /// The last port; 0 when the door was opened by hand and has none.
    pub port: u16,
    /// Whether it was UDP.
    pub udp: bool,
    /// The interface.
    pub interface: String,
}

/// A sequence that opens once. Where it is marked as used, the runner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spend {
    /// Every step of time that begins before this Unix time, in seconds.
    Until(i64),
    /// The line of this number in the door's list.
    Line(u32),
}

/// The packet that completed a knock, for a follower that comes after this one; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// The stamp of the kernel that we run on.
    pub kernel: Option<i64>,
    /// The stamp of the header, from the Unix epoch.
    pub header: Option<i64>,
    /// The port that it came from, if it was TCP.
    pub port: Option<u16>,
}

/// What the service manager is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    /// The work has begun.
    Ready,
    /// The configuration has been taken, or left as it was.
    Reloaded,
    /// How we are, in one line.
    Status(String),
    /// The loop turns.
    Alive,
}

/// What of the journal is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Read {
    /// The latest entry, or why there is none.
    Latest,
    /// Everything from this place on; from the oldest entry without one.
    From(Option<String>),
}

impl Ask {
    /// What is asked for by an action. Its door stays here: the name crosses, never a command.
    pub fn of(action: Action) -> Self {
        match action {
            Action::Open {
                grant,
                facts,
                deadline,
                spend,
                last,
                ..
            } => Self::Open {
                last: last.map(Last::of),
                spend: spend.as_ref().map(Spend::of),
                grant: grant.0,
                knock: Knock::of(&facts),
                deadline: deadline.as_nanos(),
            },
            Action::Run {
                facts, spend, last, ..
            } => Self::Run {
                last: last.map(Last::of),
                knock: Knock::of(&facts),
                spend: spend.as_ref().map(Spend::of),
            },
            Action::Spend(token) => Self::Spend {
                door: token.door.to_string(),
                spend: Spend::of(&token),
            },
            Action::Refresh { facts, .. } => Self::Refresh(Knock::of(&facts)),
            Action::Extend {
                grant,
                deadline,
                last,
            } => Self::Extend {
                last: last.map(Last::of),
                grant: grant.0,
                deadline: deadline.as_nanos(),
            },
            Action::Close { grant } => Self::Close(grant.0),
            Action::Forget { grant } => Self::Forget(grant.0),
        }
    }

    /// Its bytes; `None` when they are too many, which the runner would not read.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        encode(self, MAX_ASK)
    }

    /// Whether its texts are within their bounds and of the characters that they may have.
    fn is_sound(&self) -> bool {
        match self {
            Self::Open { knock, .. } | Self::Run { knock, .. } | Self::Refresh(knock) => {
                knock.is_sound()
            }
            Self::Spend { door, .. } => door.len() <= MAX_NAME,
            Self::Notice(Notice::Status(text)) => {
                // A second line would be an assignment of its own to systemd.
                text.len() <= MAX_STATUS && !text.chars().any(char::is_control)
            }
            Self::Journal {
                read: Read::From(Some(cursor)),
                ..
            } => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"=;-".contains(&byte);
                cursor.len() <= MAX_CURSOR && cursor.bytes().all(fits)
            }
            _ => true,
        }
    }
}

impl Spend {
    fn of(token: &Token) -> Self {
        match &token.used {
            Used::Until(unix) => Self::Until(*unix),
            Used::Line { number, .. } => Self::Line(*number),
        }
    }
}

impl Last {
    /// What the engine says.
    pub fn of(last: answered::Last) -> Self {
        Self {
            kernel: last.kernel.map(Time::as_nanos),
            header: last.header.map(Time::as_nanos),
            port: last.port,
        }
    }

    /// The same for the engine.
    pub fn last(self) -> answered::Last {
        answered::Last {
            kernel: self.kernel.map(Time::from_nanos),
            header: self.header.map(Time::from_nanos),
            port: self.port,
        }
    }
}

impl Knock {
    fn of(facts: &Facts) -> Self {
        Self {
            door: facts.door.to_string(),
            src: facts.src,
            dst: facts.dst,
            port: facts.step.port,
            udp: facts.step.transport == Transport::Udp,
            interface: facts.interface.to_string(),
        }
    }

    /// The facts that the commands of `door` may know, which stays open for `hold`.
    pub fn facts(&self, door: &Arc<str>, hold: Option<Duration>) -> Facts {
        let transport = if self.udp {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        Facts {
            src: self.src,
            dst: self.dst,
            step: Step {
                port: self.port,
                transport,
            },
            interface: self.interface.as_str().into(),
            door: Arc::clone(door),
            hold,
        }
    }

    fn is_sound(&self) -> bool {
        // The kernel takes names that begin with '-'; a command would take one for an option.
        let unfit = |character: char| {
            character.is_whitespace() || character.is_control() || "/:".contains(character)
        };
        self.door.len() <= MAX_NAME
            && self.interface.chars().count() <= MAX_INTERFACE
            && !self.interface.starts_with('-')
            && !self.interface.chars().any(unfit)
    }
}

impl Notice {
    /// How we are, cut to what may be said.
    pub fn status(text: &str) -> Self {
        let mut text = text.replace(char::is_control, " ");
        text.truncate(boundary(&text, MAX_STATUS));
        Self::Status(text)
    }
}

/// What the follower says with these bytes: `None` for everything that it could not have said if it
/// were in order.
pub fn decode_ask(bytes: &[u8]) -> Option<Ask> {
    decode(bytes, MAX_ASK).filter(Ask::is_sound)
}

#[cfg(test)]
#[path = "ask_test.rs"]
mod tests;
