//! What a log says of messages that are missing from it.
//!
//! In: a line that holds no packet. Out: a [`Loss`] when it is one of the sentences with which the kernel, journald
//! or rsyslog tell that they left something out. Knocks may have been among them. Any user can cause such a line, so
//! it causes a warning and decides nothing.

use memchr::memmem;

use super::line::{self, Writer};

/// Messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many, where the sentence says so.
    pub count: Option<u64>,
}

/// How often messages are missing, and how many at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// How often.
    pub times: u64,
    /// How many, where that is known.
    pub messages: u64,
}

impl Losses {
    /// Counts one more, with its number of messages if that is known.
    pub fn add(&mut self, messages: Option<u64>) {
        self.times = self.times.saturating_add(1);
        self.messages = self.messages.saturating_add(messages.unwrap_or(0));
    }
}

/// What `line` says of missing messages.
pub fn read(line: &[u8]) -> Option<Loss> {
    // Most lines say nothing of the kind, and are done with here.
    let hints: [&[u8]; 3] = [b"uppressed", b"rate-limiting", b" kernel messages"];
    if !hints.iter().any(|hint| memmem::find(line, hint).is_some()) {
        return None;
    }
    let record = line::read(line);
    let message = std::str::from_utf8(record.message).ok()?.trim_end();
    let tag = record.tagged.split(|byte| b"[: ".contains(byte)).next()?;
    match (record.writer, tag) {
        (Writer::Kernel, _) => by_kernel(message),
        (Writer::Program, b"systemd-journald") => by_journald(message),
        (Writer::Program, b"rsyslogd" | b"imuxsock" | b"imjournal") => by_rsyslog(message),
        _ => None,
    }
}

/// `net_ratelimit: 12 callbacks suppressed`
fn by_kernel(message: &str) -> Option<Loss> {
    let (function, count) = message
        .strip_suffix(" callbacks suppressed")?
        .split_once(": ")?;
    let is_function = function.bytes().all(|byte| byte.is_ascii_graphic());
    is_function.then_some(Loss {
        count: Some(count.parse().ok()?),
    })
}

/// `Missed 12 kernel messages`, `Suppressed 12 messages from rsyslog.service`
fn by_journald(message: &str) -> Option<Loss> {
    let mut words = message.split(' ');
    let (verb, count) = (words.next()?, words.next()?.parse().ok()?);
    let rest = (words.next()?, words.next()?);
    let is_loss = matches!(
        (verb, rest),
        ("Missed", ("kernel", "messages")) | ("Suppressed", ("messages", "from"))
    );
    is_loss.then_some(Loss { count: Some(count) })
}

/// `imjournal: 12 messages lost due to rate-limiting (20000 allowed within 600 seconds)`,
/// `imuxsock lost 12 messages from pid 4711 due to rate-limiting`,
/// `imuxsock: begin to drop messages due to rate-limiting`
fn by_rsyslog(message: &str) -> Option<Loss> {
    let (said, _) = message.split_once(" due to rate-limiting")?;
    let mut words = said
        .split(' ')
        .skip_while(|word| word.starts_with("im") || word.ends_with(':'));
    let count = match (words.next()?, words.next()?, words.next()?) {
        ("lost", count, "messages") | (count, "messages", "lost") => Some(count.parse().ok()?),
        ("begin", "to", "drop") => None,
        _ => return None,
    };
    Some(Loss { count })
}

#[cfg(test)]
#[path = "loss_test.rs"]
mod tests;
