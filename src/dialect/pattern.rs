//! A log format of the operator's own: a regex whose groups are the fields of a packet.
//!
//! In: the regex of `[log.format]`, then lines. Out: a [`Pattern`], or what is wrong with it; the packet of a line
//! that the regex matches from end to end. A value that does not parse is [`Reason::Grammar`], never a guess. Without
//! a group `flags`, a TCP line counts as a SYN, because most firewalls log only these. Without `spt`, two knocks at
//! one port within ten seconds are one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use regex::bytes::{Captures, Regex, RegexBuilder};
use thiserror::Error;

use super::Read;
use crate::engine::line::{Record, Stamp};
use crate::engine::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use crate::engine::reading::Expected;
use crate::engine::reason::Reason;

/// Longest regex, in bytes, and the most memory that its program may take.
const MAX_REGEX: usize = 4096;
const MAX_PROGRAM: usize = 1 << 20;
/// The interface of a packet whose line names none.
const NO_INTERFACE: &[u8] = b"-";

/// Groups that a regex must have, and that it may have.
const NEEDED: [&str; 3] = ["src", "dpt", "proto"];
const KNOWN: [&str; 9] = [
    "src", "dpt", "proto", "dst", "spt", "flags", "time", "in", "prefix",
];

/// A log format.
#[derive(Clone)]
pub struct Pattern(Regex);

/// Why a text is no log format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Longer than a regex may be, or its program would be too large.
    #[error("the regex is longer than {} bytes, or repeats too much", MAX_REGEX)]
    TooLarge,
    /// It could match a part of a line, and somebody else's text the other.
    #[error(
        "the regex is not anchored at both ends: anyone who can write text to the log could put a \
             packet into it"
    )]
    Anchors,
    /// No regex; what is wrong with it, in constant words.
    #[error("not a regex: {0}")]
    Syntax(String),
    /// A group that a packet has not; its name, if it is a word and could be no secret.
    #[error("unknown group{}; there are {}", named(.0.as_deref()), KNOWN.join(", "))]
    UnknownGroup(Option<String>),
    /// A field that every packet has.
    #[error("the regex has no group '{0}'")]
    MissingGroup(&'static str),
}

fn named(name: Option<&str>) -> String {
    name.map(|name| format!(" '{name}'")).unwrap_or_default()
}

impl PatternError {
    /// What to do.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::TooLarge | Self::Syntax(_) | Self::UnknownGroup(_) => None,
            Self::Anchors => {
                Some("write '^…$', from the first byte of the line to its last".to_owned())
            }
            Self::MissingGroup(name) => Some(format!("add (?<{name}>…) around that field")),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_REGEX {
            return Err(PatternError::TooLarge);
        }
        let regex = compile(text)?;
        if !is_anchored(text) {
            return Err(PatternError::Anchors);
        }
        let groups: Vec<&str> = regex.capture_names().flatten().collect();
        if let Some(name) = groups.iter().find(|name| !KNOWN.contains(name)) {
            let is_word = name.bytes().all(|byte| byte.is_ascii_alphabetic());
            let name = is_word.then(|| (*name).to_owned());
            return Err(PatternError::UnknownGroup(name));
        }
        if let Some(name) = NEEDED.into_iter().find(|name| !groups.contains(name)) {
            return Err(PatternError::MissingGroup(name));
        }
        // An anchor may be in one of several branches only: the whole is anchored once more.
        compile(&format!(r"\A(?:{text})\z")).map(Self)
    }
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    let built = RegexBuilder::new(text)
        .unicode(false)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .nest_limit(64)
        .build();
    built.map_err(|error| match error {
        regex::Error::Syntax(message) => PatternError::Syntax(last_words(&message)),
        _ => PatternError::TooLarge,
    })
}

/// What a syntax error ends with; before that it quotes the regex, which may hold the prefix.
fn last_words(message: &str) -> String {
    let last = message.lines().next_back().unwrap_or("");
    last.strip_prefix("error: ")
        .unwrap_or("it does not parse")
        .to_owned()
}

fn is_anchored(text: &str) -> bool {
    let escaped =
        |text: &str| text.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1;
    let begins = text.starts_with('^') || text.starts_with(r"\A");
    let ends = match (text.strip_suffix('$'), text.strip_suffix('z')) {
        (Some(head), _) => !escaped(head),
        (None, Some(head)) => escaped(head),
        (None, None) => false,
    };
    begins && ends
}

impl Pattern {
    /// Whether its lines have the log prefix in a group of its own.
    pub fn has_prefix(&self) -> bool {
        self.0
            .capture_names()
            .flatten()
            .any(|name| name == "prefix")
    }

    /// The fields of `line`, if it has this format.
    pub(super) fn find<'a>(&self, line: &'a [u8]) -> Option<Match<'a>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let captures = self.0.captures(line)?;
        Some(Match {
            checks_prefix: self.has_prefix(),
            captures,
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pattern(*)")
    }
}

/// A line that has the format.
pub(super) struct Match<'a> {
    checks_prefix: bool,
    captures: Captures<'a>,
}

impl Match<'_> {
    /// Its packet, if all of its fields are what they should be.
    pub(super) fn read(&self, expected: &Expected) -> Result<Option<Read<'_>>, Reason> {
        let prefix = self.field("prefix").unwrap_or(b"");
        if self.checks_prefix && !expected.is(prefix) {
            return Err(Reason::Prefix);
        }
        let src = self.address("src")?.ok_or(Reason::Grammar)?;
        let dst = self.address("dst")?.unwrap_or(match src {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(Reason::Grammar);
        }
        let proto = self.field("proto").and_then(proto).ok_or(Reason::Grammar)?;
        let packet = Packet {
            prefix,
            iif: self.field("in").unwrap_or(NO_INTERFACE),
            oif: b"",
            headers: Headers {
                src,
                dst,
                proto,
                ports: Some(Ports {
                    src: self.port("spt")?.unwrap_or(0),
                    dst: self.port("dpt")?.ok_or(Reason::Grammar)?,
                }),
                flags: match (proto, self.field("flags")) {
                    (Proto::Tcp, Some(text)) => flags(text).ok_or(Reason::Grammar)?,
                    (Proto::Tcp, None) => TcpFlags::SYN,
                    _ => TcpFlags::NONE,
                },
                mark: Fingerprint::default(),
            },
        };
        Ok(Some((self.record()?, packet)))
    }

    fn record(&self) -> Result<Record<'_>, Reason> {
        let stamp = match self.field("time") {
            None => None,
            Some(text) => Some(Stamp::whole(text).ok_or(Reason::Grammar)?),
        };
        Ok(Record {
            stamp,
            ..Record::bare(b"")
        })
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        Some(self.captures.name(name)?.as_bytes())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Reason> {
        let text = self.field(name).map(str::from_utf8).transpose();
        text.map_err(|_| Reason::Grammar)
    }

    fn address(&self, name: &str) -> Result<Option<IpAddr>, Reason> {
        let address = self.text(name)?.map(IpAddr::from_str).transpose();
        let address = address.map_err(|_| Reason::Grammar)?;
        Ok(address.map(|address| address.to_canonical()))
    }

    /// A port as a machine writes it: no sign, no leading zero.
    fn port(&self, name: &str) -> Result<Option<u16>, Reason> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let port: u16 = text.parse().map_err(|_| Reason::Grammar)?;
        if port.to_string() != text {
            return Err(Reason::Grammar);
        }
        Ok(Some(port))
    }
}

/// A protocol by its name in any case, or by its number.
fn proto(text: &[u8]) -> Option<Proto> {
    let text = str::from_utf8(text).ok()?.to_ascii_lowercase();
    Some(match text.as_str() {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        "icmp" => Proto::Icmp,
        "icmp6" | "icmpv6" | "ipv6-icmp" => Proto::Icmpv6,
        number => Proto::from_number(number.parse().ok()?),
    })
}

/// TCP flags as names (`SYN,ACK`) or as the letters of tcpdump (`S.`) and Windows (`SA`).
fn flags(text: &[u8]) -> Option<TcpFlags> {
    let words = text.split(|byte| b", /|+".contains(byte));
    words
        .filter(|word| !word.is_empty() && *word != b"-")
        .try_fold(TcpFlags::NONE, |set, word| Some(set.with(flag_word(word)?)))
}

fn flag_word(word: &[u8]) -> Option<TcpFlags> {
    let mut names = TcpFlags::NAMES.into_iter();
    if let Some((_, flag)) = names.find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())) {
        return Some(flag);
    }
    word.iter().try_fold(TcpFlags::NONE, |set, letter| {
        Some(set.with(match letter {
            b'F' => TcpFlags::FIN,
            b'S' => TcpFlags::SYN,
            b'R' => TcpFlags::RST,
            b'P' => TcpFlags::PSH,
            b'A' | b'.' => TcpFlags::ACK,
            b'U' => TcpFlags::URG,
            b'E' => TcpFlags::ECE,
            b'W' => TcpFlags::CWR,
            _ => return None,
        }))
    })
}

#[cfg(test)]
#[path = "pattern_test.rs"]
mod tests;
