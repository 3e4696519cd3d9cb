//! Whether a packet has been seen before: retransmitted by its sender, or logged twice.
//!
//! In: the hits of one address in order. Out: new or not. A client that blocks in `connect` sends its
//! SYN again after 1, 3 and 7 s with the same ports; two rules, or two log files, print one packet
//! twice. Neither may count as a second knock, and neither may reset anything.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::knock::Hit;
use super::packet::TcpFlags;
use super::sequence::Transport;
use super::time::Time;

/// How long a TCP packet with the same ports is a retransmission, from the first sighting.
const RETRANSMISSION: Duration = Duration::from_secs(10);
/// How long a UDP packet equal in every field, IP ID included, is the same packet.
const SAME_ID: Duration = Duration::from_secs(1);
/// The same where there is no IP ID to tell two apart (IPv6, or an ID of 0).
const SAME_FIELDS: Duration = Duration::from_millis(1);
/// Packets remembered of one address; the oldest goes first.
const REMEMBERED: usize = 64;

/// Hashes packets with a key of its own, so that nobody can aim for a collision.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity(RandomState);

impl Identity {
    /// What stays the same when `hit` is sent or logged again, except its TCP sequence number, which
    /// only some rules log. ECN bits do not count: a SYN is sent again without them (RFC 3168 §6.1.1).
    fn of(&self, hit: &Hit<'_>) -> u64 {
        const ECN: TcpFlags = TcpFlags::ECE.with(TcpFlags::CWR).with(TcpFlags::AE);
        let key = (hit.dst, hit.ports, hit.step.transport);
        match hit.step.transport {
            Transport::Tcp => self.0.hash_one((key, hit.flags.without(ECN))),
            Transport::Udp => self.0.hash_one((key, hit.mark)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    identity: u64,
    at: Time,
    uptime: Option<Time>,
    seq: Option<u32>,
    /// How long the same identity is the same packet.
    span: Duration,
}

impl Sighting {
    fn is_again(&self, other: &Self) -> bool {
        let elapsed = match (self.uptime, other.uptime) {
            (Some(first), Some(second)) => second.since(first).max(first.since(second)),
            _ => other.at.since(self.at),
        };
        self.identity == other.identity
            && elapsed <= self.span
            && (self.seq.is_none() || other.seq.is_none() || self.seq == other.seq)
    }
}

/// The packets that one address sent lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings(Vec<Sighting>);

impl Sightings {
    /// Whether `hit` is new; remembers it if so.
    pub(super) fn is_new(&mut self, identity: &Identity, hit: &Hit<'_>) -> bool {
        let span = match (hit.step.transport, hit.mark.id) {
            (Transport::Tcp, _) => RETRANSMISSION,
            (Transport::Udp, Some(1..)) => SAME_ID,
            (Transport::Udp, _) => SAME_FIELDS,
        };
        let sighting = Sighting {
            identity: identity.of(hit),
            at: hit.at,
            uptime: hit.uptime,
            seq: hit.mark.seq,
            span,
        };
        self.0
            .retain(|seen| hit.at.since(seen.at) <= RETRANSMISSION);
        if self.0.iter().any(|seen| seen.is_again(&sighting)) {
            return false;
        }
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(sighting);
        true
    }

    /// How many packets are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When nothing remembered matters any more; `None` when nothing is.
    pub(super) fn end(&self) -> Option<Time> {
        self.0.iter().map(|seen| seen.at.after(seen.span)).max()
    }
}
