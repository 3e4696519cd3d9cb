//! One journal entry: JSON → a line of the form of `/dev/kmsg`, if the kernel wrote it.
//!
//! In: a line of `journalctl --output=json`. Out: the line, or the [`Reason`] why it is not the kernel's. Whatever
//! journalctl was asked for is checked here once more. `_TRANSPORT=kernel` alone proves nothing: on request of any
//! user, journald copies text into the kernel's log and reads it back. Only the facility shows this, and the facility
//! alone could be sent to journald's own socket. journald undoes the kernel's escapes, so that a newline in a message
//! is one: such a message is not a packet line, and is never split.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::engine::loss::Loss;
use crate::engine::reason::Reason;
use crate::source::assembler::MAX_LINE;

/// What matters of an entry.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// Its position in the journal.
    #[serde(rename = "__CURSOR")]
    pub(super) cursor: String,
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    received: Option<Field>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP")]
    stamped: Option<Field>,
    #[serde(rename = "_BOOT_ID")]
    boot: Option<Field>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Field>,
    #[serde(rename = "SYSLOG_FACILITY")]
    facility: Option<Field>,
    #[serde(rename = "SYSLOG_PID")]
    pid: Option<IgnoredAny>,
    #[serde(rename = "PRIORITY")]
    priority: Option<Field>,
    #[serde(rename = "MESSAGE")]
    message: Option<Field>,
    #[serde(rename = "MESSAGE_ID")]
    message_id: Option<Field>,
}

/// The message with which journald itself says that it missed messages of the kernel
/// (`SD_MESSAGE_JOURNAL_MISSED`).
pub(super) const MISSED: &str = "e9bf28e6e834481bb6f48f548ad13606";

/// A field's value, as journalctl may write it. A list of values, or null, is not accepted.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    /// What is not UTF-8, byte by byte.
    Bytes(Vec<u8>),
    Other(IgnoredAny),
}

impl Field {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            Self::Other(_) => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

fn is(field: Option<&Field>, expected: &str) -> bool {
    matches!(field, Some(Field::Text(text)) if text == expected)
}

impl Entry {
    /// Reads the JSON of an entry; `None` when it is wrong.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// What journald says it has missed of the kernel's messages since `boot`, if that is what it says.
    pub(super) fn missed(&self, boot: &str) -> Option<Loss> {
        let said = is(self.transport.as_ref(), "driver")
            && is(self.message_id.as_ref(), MISSED)
            && is(self.boot.as_ref(), boot);
        let count = || {
            let message = std::str::from_utf8(self.message.as_ref()?.bytes()?).ok()?;
            message.split(' ').nth(1)?.parse().ok()
        };
        said.then(|| Loss { count: count() })
    }

    /// The line, ended by its newline, if the kernel wrote it since `boot`.
    pub(super) fn line(&self, boot: &str) -> Result<Vec<u8>, Reason> {
        if !is(self.transport.as_ref(), "kernel") || self.pid.is_some() {
            return Err(Reason::Transport);
        }
        if !is(self.facility.as_ref(), "0") {
            return Err(Reason::Facility);
        }
        if !is(self.boot.as_ref(), boot) {
            return Err(Reason::Stale);
        }
        let message = self.message.as_ref().and_then(Field::bytes);
        let message = message.filter(|message| !message.contains(&b'\n'));
        let message = message.ok_or(Reason::Grammar)?;
        if message.len() > MAX_LINE / 2 {
            return Err(Reason::TooLong);
        }
        let number = |field: Option<&Field>| field.and_then(Field::number);
        let priority = number(self.priority.as_ref()).filter(|&level| level < 8);
        // The moment of receipt is a little later, and on the same clock.
        let usecs = number(self.stamped.as_ref()).or_else(|| number(self.received.as_ref()));
        let (Some(priority), Some(usecs)) = (priority, usecs) else {
            return Err(Reason::Grammar);
        };
        // journald does not keep the record's number, and it is not needed.
        let mut line = format!("{priority},0,{usecs},-;").into_bytes();
        line.extend_from_slice(message);
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
#[path = "entry_test.rs"]
mod tests;
