//! What the two processes say to each other, as JSON with a bound.
//!
//! In: what was found or has become of it, and bytes of the other process. Out: bytes, and back. A
//! message with a field that it should not have, a text beyond its bound or an unfit character is no
//! message. The detector can say what it saw, and asks for what only the monitor may do; it can name no
//! grant, no command and no file.

use std::net::IpAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::answered;
use crate::engine::command::Facts;
use crate::engine::door::{Door, Rule};
use crate::engine::event::{Event, EventKind, RefusedReason};
use crate::engine::finding::{Finding, Knocked};
use crate::engine::one_time::{Origin, Token, Used};
use crate::engine::sequence::{Step, Transport};
use crate::engine::time::Time;
use crate::engine::{event, facts};

/// The version spoken here. Both ends are the same program; it is looked at all the same.
pub const VERSION: u32 = 3;
/// Longest message of the detector, in bytes.
pub const MAX_TO_MONITOR: usize = 64 * 1024;
/// Longest message of the monitor, in bytes.
pub const MAX_TO_DETECTOR: usize = 64 * 1024;
/// Longest place in a journal, in bytes.
pub const MAX_CURSOR: usize = 512;
/// Longest line about our state, in bytes.
const MAX_STATUS: usize = 1024;
/// Longest name of a door, in bytes.
const MAX_NAME: usize = 64;
/// Longest name of an interface (the kernel's `IFNAMSIZ`, without its end), in characters.
const MAX_INTERFACE: usize = 15;
/// How much of a long text goes into one message: JSON may make six bytes of one.
const PIECE_SIZE: usize = 8 * 1024;

/// What the detector says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToMonitor {
    /// It is confined and follows its sources.
    Following,
    /// A door was knocked at.
    Knocked(Knock),
    /// The first connection came to a door that lets one in.
    Entered {
        /// The door.
        door: String,
        /// Whose connection it was.
        src: IpAddr,
        /// Its line.
        whence: Whence,
    },
    /// One hit too many came to a door that counts.
    Overcount {
        /// The door.
        door: String,
        /// For whom it is open.
        src: IpAddr,
        /// The line of the hit.
        whence: Option<Whence>,
    },
    /// Too many codes failed at a door.
    CodesFailed {
        /// The door.
        door: String,
        /// Every step of time that begins before this Unix time, in seconds, is used.
        until: i64,
    },
    /// Its loop turns; how its sources are, in one line, where that has changed.
    Alive(Option<String>),
    /// It has taken the configuration that it was told last.
    Reloaded,
    /// A piece of the answer to a question.
    Answer {
        /// The number of the question.
        to: u32,
        /// The piece.
        piece: Piece,
    },
    /// Start a journalctl for the source of this number.
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
    /// The source of this number cannot be read any more.
    SourceLost(u16),
    /// The syslog daemon is another one by now: connect to it again.
    ReconnectSyslog,
    /// Every source has come to its end.
    Exhausted,
    /// Nothing more comes: it ends now.
    Done,
}

/// What the monitor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToDetector {
    /// First of all.
    Hello {
        /// The version spoken.
        version: u32,
        /// How often the service manager wants to hear that the loop turns, in milliseconds.
        alive_every: Option<u64>,
        /// Whether standard input comes with this message.
        stdin: bool,
    },
    /// A door is open for an address since before this detector began.
    Open(String, IpAddr),
    /// At a door, every step of time that begins before this Unix time, in seconds, is used.
    Used(String, i64),
    /// The latest knock of an address at a door that was answered.
    Answered {
        /// The door.
        door: String,
        /// The address.
        src: IpAddr,
        /// When, on the boot clock, in nanoseconds.
        at: i64,
        /// The packet that completed it.
        last: Last,
    },
    /// The file for a record comes with this message; without one, it could not be opened.
    Record(Record),
    /// A piece of the configuration.
    Rules(Piece),
    /// Something happened to a grant.
    Event {
        /// When, on the boot clock, in nanoseconds.
        at: i64,
        /// The door.
        door: String,
        /// The address.
        src: IpAddr,
        /// What.
        kind: GrantEvent,
        /// The line that caused it.
        whence: Option<Whence>,
    },
    /// The open command of a grant has succeeded.
    Opened(String, IpAddr),
    /// A command of a door ended with this status, if it exited.
    Ended(String, Option<i32>),
    /// A question of this number.
    Ask(u32, Question),
    /// Read no more lines: the end has begun.
    Stop,
    /// End: nothing more comes.
    End,
    /// A journalctl has been started; its output comes with this message.
    Journal(u16),
    /// It has not; the kernel's number.
    NoJournal(u16, i32),
    /// It has ended, with this status where that is known.
    JournalEnded(u16, Option<i32>),
}

/// A part of a text that is longer than a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Whether more comes.
    pub more: bool,
    /// The part.
    pub text: String,
}

/// A file in which the detector writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Every event, as JSON.
    EventLog,
    /// Events in knockd's words.
    KnockdLog,
    /// The same, to syslog(3).
    KnockdSyslog,
    /// How far files are read, in one of two files.
    Checkpoint,
}

/// What only the detector knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// How its sources and attempts are.
    Status,
    /// What it remembers of an address.
    Explain(IpAddr),
}

/// What happened to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantEvent {
    /// It opens.
    Open,
    /// It stays open for longer.
    Refresh,
    /// It closes.
    Close,
    /// There is no room for another one.
    Full,
    /// The sequence has been used.
    Used,
}

/// A line: the number of its source, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whence(u16, u64);

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
    /// The last port.
    pub port: u16,
    /// Whether it was UDP.
    pub udp: bool,
    /// The interface.
    pub interface: String,
    /// What is used for it, of sequences that open once.
    pub used: Option<UsedSequence>,
    /// An end of its own, on the boot clock, in nanoseconds.
    pub until: Option<i64>,
    /// The packet that completed it.
    pub last: Option<Last>,
    /// Its line.
    pub whence: Option<Whence>,
}

/// A sequence that opens once. In which file it is marked as used, the monitor knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UsedSequence {
    /// Every step of time that begins before this Unix time, in seconds.
    Until(i64),
    /// The line of this number in the door's list.
    Line(u32),
}

/// The packet that completed a knock, for a detector that comes after this one; times in nanoseconds.
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

/// What of the journal is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Read {
    /// The latest entry, or why there is none.
    Latest,
    /// Everything from this place on; from the oldest entry without one.
    From(Option<String>),
}

impl From<Finding> for ToMonitor {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Knocked(knocked) => Self::Knocked(Knock::of(&knocked)),
            Finding::Entered { door, src, whence } => Self::Entered {
                door: door.to_string(),
                src,
                whence: whence.into(),
            },
            Finding::Overcount { door, src, whence } => Self::Overcount {
                door: door.to_string(),
                src,
                whence: whence.map(Whence::from),
            },
            Finding::CodesFailed { door, until } => Self::CodesFailed {
                door: door.to_string(),
                until,
            },
        }
    }
}

impl ToMonitor {
    /// A line about our state, cut to what may be said.
    pub fn status(text: &str) -> String {
        let mut text = text.replace(char::is_control, " ");
        text.truncate(boundary(&text, MAX_STATUS));
        text
    }

    /// What these bytes say: `None` for everything that a detector in order could not have said.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes, MAX_TO_MONITOR).filter(Self::is_sound)
    }

    /// Its bytes; `None` when they are too many, which the monitor would not read.
    pub fn encode(&self) -> Option<Vec<u8>> {
        encode(self, MAX_TO_MONITOR)
    }

    /// Whether its texts are within their bounds and of the characters that they may have.
    fn is_sound(&self) -> bool {
        match self {
            Self::Knocked(knock) => knock.is_sound(),
            Self::Entered { door, .. }
            | Self::Overcount { door, .. }
            | Self::CodesFailed { door, .. } => door.len() <= MAX_NAME,
            Self::Alive(Some(text)) => {
                // A second line would be an assignment of its own to systemd.
                text.len() <= MAX_STATUS && !text.chars().any(char::is_control)
            }
            Self::Answer { piece, .. } => piece.text.len() <= PIECE_SIZE,
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

impl ToDetector {
    /// What happened to a grant; `None` for an event of an attempt.
    pub fn event(event: &Event) -> Option<Self> {
        let kind = match event.kind {
            EventKind::Open => GrantEvent::Open,
            EventKind::Refresh => GrantEvent::Refresh,
            EventKind::Close => GrantEvent::Close,
            EventKind::Refused { reason } => match reason {
                RefusedReason::Full => GrantEvent::Full,
                RefusedReason::Used => GrantEvent::Used,
                RefusedReason::FailedCodes => return None,
            },
            EventKind::Stage { .. }
            | EventKind::Reset { .. }
            | EventKind::LockedOut
            | EventKind::CodesRefused => return None,
        };
        Some(Self::Event {
            at: event.at.as_nanos(),
            door: event.door.to_string(),
            src: event.src,
            kind,
            whence: event.whence.map(Whence::from),
        })
    }

    /// Its bytes; `None` when they are too many.
    pub fn encode(&self) -> Option<Vec<u8>> {
        encode(self, MAX_TO_DETECTOR)
    }

    /// What these bytes say.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes, MAX_TO_DETECTOR)
    }
}

impl GrantEvent {
    /// The engine's word for it.
    pub fn kind(self) -> EventKind {
        match self {
            Self::Open => EventKind::Open,
            Self::Refresh => EventKind::Refresh,
            Self::Close => EventKind::Close,
            Self::Full => EventKind::Refused {
                reason: RefusedReason::Full,
            },
            Self::Used => EventKind::Refused {
                reason: RefusedReason::Used,
            },
        }
    }
}

impl Knock {
    fn of(knocked: &Knocked) -> Self {
        let facts = &knocked.facts;
        Self {
            door: facts.door.to_string(),
            src: facts.src,
            dst: facts.dst,
            port: facts.step.port,
            udp: facts.step.transport == Transport::Udp,
            interface: facts.interface.to_string(),
            used: knocked.token.as_ref().map(|token| match &token.used {
                Used::Until(until) => UsedSequence::Until(*until),
                Used::Line { number, .. } => UsedSequence::Line(*number),
            }),
            until: knocked.until.map(Time::as_nanos),
            last: knocked.last.map(Last::of),
            whence: knocked.whence.map(Whence::from),
        }
    }

    /// The same at `door`, as the monitor knows it; `None` where the door has no such sequence.
    pub fn at(self, door: &Arc<Door>) -> Option<Knocked> {
        let transport = if self.udp {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        let token = match self.used {
            Some(used) => Some(used.at(door)?),
            None if matches!(door.rule, Rule::OneTime(_)) => return None,
            None => None,
        };
        let port = self.port;
        Some(Knocked {
            facts: Facts {
                src: self.src,
                dst: self.dst,
                step: Step { port, transport },
                interface: self.interface.as_str().into(),
                door: Arc::clone(&door.name),
                hold: facts::hold(door, self.src),
            },
            token,
            until: self.until.map(Time::from_nanos),
            last: self.last.map(Last::last),
            whence: self.whence.map(Whence::whence),
        })
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

impl UsedSequence {
    fn at(self, door: &Door) -> Option<Token> {
        let Rule::OneTime(rule) = &door.rule else {
            return None;
        };
        let used = match (&rule.origin, self) {
            (Origin::Totp(_), Self::Until(until)) => Used::Until(until),
            (Origin::List(list), Self::Line(number)) => {
                let line = list.lines.iter().find(|line| line.number == number)?;
                Used::Line {
                    file: Arc::clone(&list.file),
                    number,
                    text: Arc::clone(&line.text),
                }
            }
            _ => return None,
        };
        let door = Arc::clone(&door.name);
        Some(Token { door, used })
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

impl From<event::Whence> for Whence {
    fn from(whence: event::Whence) -> Self {
        Self(whence.source, whence.line)
    }
}

impl Whence {
    /// The same for the engine.
    pub fn whence(self) -> event::Whence {
        let Self(source, line) = self;
        event::Whence { source, line }
    }
}

/// A text in pieces that fit into messages.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (text, after) = rest?.split_at(boundary(rest?, PIECE_SIZE));
        rest = (!after.is_empty()).then_some(after);
        Some(Piece {
            more: rest.is_some(),
            text: text.to_owned(),
        })
    })
}

/// The last place in `text` that is not beyond `most` bytes and not within a character.
fn boundary(text: &str, most: usize) -> usize {
    let mut places = (0..=most.min(text.len())).rev();
    places.find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn encode(message: &impl Serialize, most: usize) -> Option<Vec<u8>> {
    let bytes = serde_json::to_vec(message).ok()?;
    (bytes.len() <= most).then_some(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], most: usize) -> Option<T> {
    if bytes.len() > most {
        return None;
    }
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
