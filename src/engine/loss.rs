//! What a log says of messages that are missing from it.
//!
//! In: a line that holds no packet. Out: a [`Loss`] when it is one of the sentences with which the
//! kernel, journald or rsyslog tell that they left something out. Knocks may have been among it. Any
//! user can have such a line written, so it is a reason to warn and none to decide anything.

use memchr::memmem;

use super::line::{self, Writer};

/// Messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many, where the sentence says so.
    pub count: Option<u64>,
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
mod tests {
    use super::*;

    #[test]
    fn each_says_it_in_its_own_words() {
        for (line, lost) in [
            (
                "4,7,5000001,-;net_ratelimit: 12 callbacks suppressed",
                Some(12),
            ),
            (
                "Nov 20 10:00:00 gw kernel: [    5.000001] net_ratelimit: 12 callbacks suppressed",
                Some(12),
            ),
            (
                "Nov 20 10:00:00 gw systemd-journald[231]: Missed 12 kernel messages",
                Some(12),
            ),
            (
                "Nov 20 10:00:00 gw systemd-journald[231]: Suppressed 12 messages from rsyslog.service",
                Some(12),
            ),
            (
                "2026-11-20T10:00:00.000001+00:00 gw rsyslogd: imjournal: 12 messages lost due to rate-limiting (20000 allowed within 600 seconds)",
                Some(12),
            ),
            (
                "Nov 20 10:00:00 gw rsyslogd: imjournal: begin to drop messages due to rate-limiting",
                None,
            ),
            (
                "Nov 20 10:00:00 gw rsyslogd: imuxsock[pid: 4711]: begin to drop messages due to rate-limiting",
                None,
            ),
            (
                "Nov 20 10:00:00 gw rsyslogd: imuxsock lost 12 messages from pid 4711 due to rate-limiting",
                Some(12),
            ),
        ] {
            assert_eq!(read(line.as_bytes()), Some(Loss { count: lost }), "{line}");
        }
    }

    #[test]
    fn others_who_say_so_are_not_believed() {
        for line in [
            "Nov 20 10:00:00 gw sshd[1]: Missed 12 kernel messages",
            "Nov 20 10:00:00 gw sshd[1]: net_ratelimit: 12 callbacks suppressed",
            "Nov 20 10:00:00 gw kernel: Missed 12 kernel messages",
            "Nov 20 10:00:00 gw kernel: a b: 12 callbacks suppressed",
            "Nov 20 10:00:00 gw kernel: net_ratelimit: many callbacks suppressed",
            "12,7,5000001,-;net_ratelimit: 12 callbacks suppressed",
            "Nov 20 10:00:00 gw systemd-journald[231]: Missed all kernel messages",
            "Nov 20 10:00:00 gw rsyslogd: begin to sing due to rate-limiting",
            "",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
