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

use crate::engine::answered::Last;
use crate::engine::command::Facts;
use crate::engine::finding::{Finding, Told};
use crate::engine::time::Time;

/// The version spoken here. Both ends are the same program; it is checked nevertheless.
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

/// A message of the detector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToMonitor {
    /// It is confined and follows its sources.
    Following,
    /// Its loop turns; how its sources are, in one line, where that has changed.
    Alive(Option<String>),
    /// It has applied the last configuration.
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
        wanted: Wanted,
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
    /// What it has found. How long a door that was knocked at stays open, the monitor knows.
    #[serde(untagged)]
    Found(Finding),
}

/// A message of the monitor.
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
    Open(Arc<str>, IpAddr),
    /// At a door, every step of time that begins before this Unix time, in seconds, is used.
    Used(Arc<str>, i64),
    /// The latest knock of an address at a door that was answered.
    Answered {
        /// The door.
        door: Arc<str>,
        /// The address.
        src: IpAddr,
        /// When, on the boot clock.
        at: Time,
        /// The packet that completed it.
        last: Last,
    },
    /// The file for a record comes with this message; without one, it could not be opened.
    Record(Record),
    /// A piece of the configuration.
    Rules(Piece),
    /// What became of a grant.
    Told(Told),
    /// A command of a door ended with this status, if it exited.
    Ended(Arc<str>, Option<i32>),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// A question that only the detector can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// How its sources and attempts are.
    Status,
    /// What it remembers of an address.
    Explain(IpAddr),
}

/// The part of the journal that a journalctl shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wanted {
    /// The latest entry; what it prints on standard error is among its output.
    Latest,
    /// What is written from now on, and all from the entry at this place on, that one included; all there is
    /// without one.
    From(Option<String>),
}

impl ToMonitor {
    /// A line about our state, cut to the allowed length.
    pub fn status(text: &str) -> String {
        let mut text = text.replace(char::is_control, " ");
        text.truncate(boundary(&text, MAX_STATUS));
        text
    }

    /// Decodes a message; `None` for one that an intact detector cannot send.
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
            Self::Found(finding) => {
                let is_sound = match finding {
                    Finding::Knocked(knocked) => are_sound(&knocked.facts),
                    _ => true,
                };
                is_sound && finding.door().len() <= MAX_NAME
            }
            Self::Alive(Some(text)) => {
                // A second line would be an assignment of its own to systemd.
                text.len() <= MAX_STATUS && !text.chars().any(char::is_control)
            }
            Self::Answer { piece, .. } => piece.text.len() <= PIECE_SIZE,
            Self::Journal {
                wanted: Wanted::From(Some(cursor)),
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
    /// Its bytes; `None` when they are too many.
    pub fn encode(&self) -> Option<Vec<u8>> {
        encode(self, MAX_TO_DETECTOR)
    }

    /// Decodes a message.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes, MAX_TO_DETECTOR)
    }
}

/// Whether what a knock says is of the characters that a command may be given.
fn are_sound(facts: &Facts) -> bool {
    // The kernel takes names that begin with '-'; a command would take one for an option.
    let unfit = |character: char| {
        character.is_whitespace() || character.is_control() || "/:".contains(character)
    };
    let interface = &facts.interface;
    interface.chars().count() <= MAX_INTERFACE
        && !interface.starts_with('-')
        && !interface.chars().any(unfit)
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
