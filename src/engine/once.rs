//! Whether a packet has been seen before: retransmitted by its sender, or logged twice.
//!
//! In: the hits of one knocker in order. Out: new or not. A client that blocks in `connect` sends its
//! SYN again after 1, 3 and 7 s with the same ports; two rules, or two log files, print one packet
//! twice. Neither may count as a second knock, and neither may reset anything.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::knock::Hit;
use super::packet::{Fingerprint, TcpFlags};
use super::sequence::Transport;
use super::time::Time;

/// How long a TCP packet with the same ports is a retransmission, from the first sighting.
pub(super) const RETRANSMISSION: Duration = Duration::from_secs(10);
/// How long a UDP packet equal in every field, IP ID included, is the same packet.
const SAME_ID: Duration = Duration::from_secs(1);
/// The same where there is no IP ID to tell two apart (IPv6, or an ID of 0).
const SAME_FIELDS: Duration = Duration::from_millis(1);
/// How long after one source another may show the same packet, where only time could tell.
pub(super) const OTHER_SOURCE: Duration = Duration::from_secs(1);
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
        let ports = u64::from(hit.ports.src) << 16 | u64::from(hit.ports.dst);
        let head = match hit.step.transport {
            Transport::Tcp => 1 << 63 | u64::from(hit.flags.without(ECN).bits()) << 32 | ports,
            Transport::Udp => ports,
        };
        // As few pieces as can be: a hash costs by their number.
        let mut hasher = self.0.build_hasher();
        match hit.dst {
            IpAddr::V4(v4) => hasher.write_u128(u128::from(head) << 64 | u128::from(v4.to_bits())),
            IpAddr::V6(v6) => {
                hasher.write_u128(v6.to_bits());
                // One knocker may have many of these; of IPv4 each is one.
                if let IpAddr::V6(src) = hit.src {
                    hasher.write_u128(src.to_bits());
                }
                hasher.write_u64(head);
            }
        }
        if hit.step.transport == Transport::Udp {
            for word in words(&hit.mark) {
                hasher.write_u64(word);
            }
        }
        hasher.finish()
    }
}

/// A fingerprint in words: every field with a bit for its presence.
fn words(mark: &Fingerprint) -> [u64; 3] {
    fn word<T: Into<u64>>(field: Option<T>, bits: u32) -> u64 {
        field.map_or(0, |value| 1 << bits | value.into())
    }
    let &Fingerprint {
        len,
        ttl,
        id,
        flow,
        seq,
        udp_len,
    } = mark;
    [
        word(len, 32) << 9 | word(ttl, 8),
        word(id, 16) << 33 | word(flow, 32),
        word(seq, 32) << 17 | word(udp_len, 16),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    identity: u64,
    at: Time,
    uptime: Uptime,
    seq: Option<u32>,
    again: Again,
    /// The sources that have shown it, a bit for each (the 65th shares the first one's).
    sources: u64,
}

/// The kernel's stamp, if there is one. There are many of these, and an `Option` would be twice as big.
#[derive(Clone, Copy, Debug)]
struct Uptime(Time);

impl Uptime {
    const NONE: Time = Time::from_nanos(i64::MIN);

    fn new(uptime: Option<Time>) -> Self {
        Self(uptime.unwrap_or(Self::NONE))
    }

    fn get(self) -> Option<Time> {
        (self.0 != Self::NONE).then_some(self.0)
    }
}

/// What can be the same packet again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Retransmission,
    SameId,
    SameFields,
}

impl Again {
    /// How long the same identity is the same packet.
    const fn span(self) -> Duration {
        match self {
            Self::Retransmission => RETRANSMISSION,
            Self::SameId => SAME_ID,
            Self::SameFields => SAME_FIELDS,
        }
    }
}

impl Sighting {
    /// When it does not matter any more.
    fn end(&self) -> Time {
        self.at.after(self.again.span().max(OTHER_SOURCE))
    }

    /// Whether `other` is the same packet. Kernel stamps compare exactly, if one kernel made both; two
    /// hosts that log the same packet have nothing in common but the time. Milliseconds cannot be
    /// told by that, so what only they tell apart is left to the kernel's stamps. Where one source has
    /// no such stamps (imkmsg's, or a relay's), what it shows within a second is what another source
    /// showed, one for one: a second packet is shown a second time by both.
    fn is_again(&self, other: &Self) -> bool {
        if self.identity != other.identity {
            return false;
        }
        let span = self.again.span();
        let by_time = apart(self.at, other.at);
        let by_kernel = self
            .uptime
            .get()
            .zip(other.uptime.get())
            .map(|(a, b)| apart(a, b));
        let elapsed = match by_kernel {
            Some(elapsed) if span <= SAME_ID => elapsed,
            Some(elapsed) => elapsed.min(by_time),
            None => by_time,
        };
        let by_another =
            by_kernel.is_none() && by_time <= OTHER_SOURCE && self.sources & other.sources == 0;
        (elapsed <= span || by_another)
            && (self.seq.is_none() || other.seq.is_none() || self.seq == other.seq)
    }
}

fn apart(one: Time, other: Time) -> Duration {
    one.since(other).max(other.since(one))
}

/// The packets that one address sent lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings {
    /// Most addresses send one packet and no more.
    seen: SmallVec<[Sighting; 1]>,
}

impl Sightings {
    /// Whether `hit` is new; remembers it if so.
    pub(super) fn is_new(&mut self, identity: &Identity, hit: &Hit<'_>) -> bool {
        let again = match (hit.step.transport, hit.mark.id) {
            (Transport::Tcp, _) => Again::Retransmission,
            (Transport::Udp, Some(1..)) => Again::SameId,
            (Transport::Udp, _) => Again::SameFields,
        };
        let sighting = Sighting {
            identity: identity.of(hit),
            at: hit.at,
            uptime: Uptime::new(hit.uptime),
            seq: hit.mark.seq,
            again,
            sources: 1 << (hit.source % 64),
        };
        self.forget(hit.at.before(RETRANSMISSION));
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.is_again(&sighting)) {
            seen.sources |= sighting.sources;
            seen.uptime = Uptime::new(seen.uptime.get().or(hit.uptime));
            return false;
        }
        self.remember(sighting);
        true
    }

    /// How many packets are remembered.
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// When nothing remembered matters any more; `None` when nothing is.
    pub(super) fn end(&self) -> Option<Time> {
        self.seen.iter().map(Sighting::end).max()
    }

    /// Forgets all of them, and gives their room back.
    pub(super) fn forget_all(&mut self) {
        self.seen = SmallVec::new();
    }

    /// Forgets what was seen before `time`. The room for many is given back, as only packets are counted.
    fn forget(&mut self, time: Time) {
        if self.seen.iter().all(|seen| seen.at >= time) {
            return;
        }
        self.seen.retain(|seen| seen.at >= time);
        if self.seen.spilled() && self.seen.len() * 4 <= self.seen.capacity() {
            self.seen.shrink_to_fit();
        }
    }

    fn remember(&mut self, sighting: Sighting) {
        if self.seen.len() == REMEMBERED {
            self.seen.remove(0);
        }
        self.seen.push(sighting);
    }
}

#[cfg(test)]
mod tests {
    use super::super::knock::Logged;
    use super::super::packet::{Fingerprint, Ports};
    use super::super::sequence::Step;
    use super::*;

    const TCP: Hit<'_> = Hit {
        at: Time::from_secs(1_000),
        uptime: None,
        src: std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7)),
        dst: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        ports: Ports {
            src: 40_000,
            dst: 7000,
        },
        step: Step {
            port: 7000,
            transport: Transport::Tcp,
        },
        flags: TcpFlags::SYN,
        interface: b"eth0",
        mark: Fingerprint {
            len: Some(60),
            ttl: Some(63),
            id: Some(4711),
            flow: None,
            seq: None,
            udp_len: None,
        },
        source: 0,
        logged: Logged {
            kernel: None,
            header: None,
            late: false,
        },
    };

    fn udp(id: Option<u16>) -> Hit<'static> {
        let mut hit = TCP;
        hit.step.transport = Transport::Udp;
        (hit.flags, hit.mark.id) = (TcpFlags::NONE, id);
        hit
    }

    /// The hit so many milliseconds later.
    fn later<'a>(hit: &Hit<'a>, millis: u64) -> Hit<'a> {
        let span = Duration::from_millis(millis);
        Hit {
            at: hit.at.after(span),
            uptime: hit.uptime.map(|uptime| uptime.after(span)),
            ..*hit
        }
    }

    /// Which of the hits of one address are new.
    fn new(hits: &[Hit<'_>]) -> Vec<bool> {
        let (mut sightings, identity) = (Sightings::default(), Identity::default());
        let mut is_new = |hit| sightings.is_new(&identity, hit);
        hits.iter().map(&mut is_new).collect()
    }

    #[test]
    fn a_syn_sent_again_after_one_three_and_seven_seconds_counts_once() {
        let mut again = TCP;
        again.mark.id = Some(4712);
        let hits = [0, 1_000, 3_000, 7_000, 10_000].map(|millis| later(&again, millis));
        assert_eq!(new(&hits), [true, false, false, false, false]);
    }

    #[test]
    fn the_ten_seconds_run_from_the_first_sighting() {
        let hits = [0, 7_000, 10_001, 15_000].map(|millis| later(&TCP, millis));
        assert_eq!(new(&hits), [true, false, true, false]);
    }

    #[test]
    fn a_syn_without_the_ecn_bits_of_the_first_is_the_same() {
        let ecn = Hit {
            flags: TcpFlags::SYN.with(TcpFlags::ECE).with(TcpFlags::CWR),
            ..TCP
        };
        assert_eq!(new(&[ecn, later(&TCP, 1_000)]), [true, false]);
        let fin = Hit {
            flags: TcpFlags::FIN,
            ..TCP
        };
        assert_eq!(new(&[TCP, fin]), [true, true]);
    }

    #[test]
    fn another_source_port_target_or_sequence_number_is_another_packet() {
        let (mut port, mut dst, mut seq) = (TCP, TCP, TCP);
        port.ports.src += 1;
        dst.dst = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
        seq.mark.seq = Some(1);
        let mut other_seq = seq;
        other_seq.mark.seq = Some(2);
        assert_eq!(new(&[TCP, port, dst]), [true, true, true]);
        assert_eq!(new(&[seq, other_seq]), [true, true]);
        assert_eq!(new(&[TCP, seq]), [true, false], "only one rule logs it");
    }

    #[test]
    fn a_packet_logged_twice_counts_once_whichever_source_is_late() {
        let seen = Hit {
            uptime: Some(Time::from_secs(77)),
            ..TCP
        };
        let late = Hit {
            at: seen.at.after(Duration::from_secs(25)),
            ..seen
        };
        let early = Hit {
            at: seen.at.before(Duration::from_millis(400)),
            ..seen
        };
        assert_eq!(new(&[seen, early, seen]), [true, false, false]);
        assert_eq!(
            new(&[seen, late]),
            [true, true],
            "what is over ten seconds old is not remembered"
        );
    }

    #[test]
    fn a_packet_that_two_hosts_log_counts_once() {
        let router = Hit {
            uptime: Some(Time::from_secs(9_000_000)),
            ..TCP
        };
        let server = Hit {
            uptime: Some(Time::from_secs(77)),
            ..later(&TCP, 3)
        };
        assert_eq!(new(&[router, server]), [true, false]);
    }

    #[test]
    fn a_datagram_is_the_same_only_within_a_second_and_with_every_field() {
        let first = udp(Some(4711));
        assert_eq!(new(&[first, later(&first, 1_000)]), [true, false]);
        assert_eq!(new(&[first, later(&first, 1_001)]), [true, true]);
        assert_eq!(new(&[first, udp(Some(4712))]), [true, true]);
        let mut longer = first;
        longer.mark.udp_len = Some(99);
        assert_eq!(new(&[first, longer]), [true, true]);
    }

    #[test]
    fn a_datagram_without_an_id_is_the_same_within_a_millisecond() {
        for id in [None, Some(0)] {
            let first = udp(id);
            assert_eq!(new(&[first, later(&first, 1)]), [true, false]);
            assert_eq!(new(&[first, later(&first, 2)]), [true, true]);
        }
    }

    #[test]
    fn datagrams_without_an_id_that_come_together_are_told_by_the_kernels_stamps() {
        let first = Hit {
            uptime: Some(Time::from_secs(77)),
            ..udp(None)
        };
        let second = Hit {
            at: first.at,
            ..later(&first, 5)
        };
        assert_eq!(new(&[first, second]), [true, true]);
        let same = Hit {
            at: first.at.after(Duration::from_millis(300)),
            ..first
        };
        assert_eq!(new(&[first, same]), [true, false], "another source");
    }

    #[test]
    fn another_source_without_stamps_shows_the_same_datagrams_one_for_one() {
        let stamped = Hit {
            uptime: Some(Time::from_secs(77)),
            ..udp(None)
        };
        let plain = Hit {
            uptime: None,
            source: 1,
            ..stamped
        };
        let both = [
            stamped,
            later(&plain, 3),
            later(&stamped, 400),
            later(&plain, 403),
        ];
        assert_eq!(new(&both), [true, false, true, false]);
        let late = [
            stamped,
            later(&stamped, 400),
            later(&plain, 410),
            later(&plain, 411),
        ];
        assert_eq!(new(&late), [true, true, false, false]);
        let first = [plain, later(&stamped, 500), later(&stamped, 510)];
        assert_eq!(new(&first), [true, false, true], "whichever is first");
        assert_eq!(new(&[stamped, later(&plain, 1_001)]), [true, true]);
        assert_eq!(
            new(&[plain, later(&plain, 2)]),
            [true, true],
            "one source tells two apart"
        );
    }

    #[test]
    fn what_is_remembered_of_one_address_is_bounded() {
        let (mut sightings, identity) = (Sightings::default(), Identity::default());
        for port in 1..=1_000 {
            let mut hit = TCP;
            hit.ports.src = port;
            assert!(sightings.is_new(&identity, &hit));
            assert!(sightings.len() <= REMEMBERED);
        }
        assert_eq!(sightings.end(), Some(TCP.at.after(RETRANSMISSION)));
    }
}
