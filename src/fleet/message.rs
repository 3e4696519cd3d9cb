//! What the daemon and `logknock-fleet` say to each other over a socket of their own.
//!
//! In and out: one JSON object a line. The agent is the only process with the network, so nothing that it says is
//! believed: grants carry the signature of the gateway that opened them. It has no word for closing, reloading or
//! listing anything.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::grant::SignedGrant;

/// The version spoken.
pub const VERSION: u32 = 1;
/// Longest line, in bytes.
pub const MAX_LINE: usize = 4096;

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromAgent {
    /// Whether the bus can be reached, whenever that changes.
    Connected(bool),
    /// A grant that came from the subject of this gateway.
    Grant(String, SignedGrant),
    /// The bus has stored the grant of this id.
    Published(String),
    /// Whether the claim of this number was won.
    Claimed(u64, bool),
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToAgent {
    /// First of all.
    Hello(Box<Bus>),
    /// Publish this.
    Publish(SignedGrant),
    /// Write `by` to the subject of `code`, if no gateway has written there.
    Claim {
        /// The number of the claim.
        number: u64,
        /// What is claimed.
        code: Code,
        /// What tells this claim from every other.
        by: String,
    },
}

/// How the bus is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// The version spoken.
    pub version: u32,
    /// This gateway.
    pub name: String,
    /// `HOST:PORT` of each server.
    pub servers: Vec<String>,
    /// The certificate authority, our certificate, and its key.
    pub tls: [PathBuf; 3],
    /// Between two pings, in milliseconds.
    pub ping: u64,
    /// How far back grants are read, in milliseconds.
    pub back: u64,
}

/// What opens once in the whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Code {
    /// At this door, the sequence of the step of time that ends at this Unix time.
    Step(String, i64),
    /// At this door, this line of the list.
    Line(String, u32),
}

impl Code {
    /// The subject on which it is claimed.
    pub fn subject(&self) -> String {
        match self {
            Self::Step(door, until) => format!("lk.once.{door}.{until}"),
            Self::Line(door, number) => format!("lk.list.{door}.{number}"),
        }
    }
}

/// A message as a line.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}
