//! What counts as the same packet, by itself and among the others of its address.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::knock::Logged;
use super::super::packet::{Fingerprint, Ports, TcpFlags};
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
    rule: 0,
    logged: Logged {
        kernel: None,
        header: None,
        late: false,
        clock: 0,
    },
};

fn udp(id: Option<u16>) -> Hit<'static> {
    let mut hit = TCP;
    hit.step.transport = Transport::Udp;
    (hit.flags, hit.mark.id) = (TcpFlags::NONE, id);
    hit
}

/// The hit, later by a number of milliseconds.
fn later<'a>(hit: &Hit<'a>, millis: u64) -> Hit<'a> {
    let span = Duration::from_millis(millis);
    Hit {
        at: hit.at.after(span),
        uptime: hit.uptime.map(|uptime| uptime.after(span)),
        ..*hit
    }
}

/// How long a door's window is that looks at them.
const REACH: Duration = RETRANSMISSION;

/// Which of the hits are new: to an address at a door as to everybody else.
fn new(hits: &[Hit<'_>]) -> Vec<bool> {
    let identity = Identity::default();
    let (mut own, mut recent) = (OwnPackets::default(), RecentPackets::new(100));
    let is_new = |hit| {
        let sighting = identity.sighting(hit);
        let seen = own.seen(&sighting, REACH);
        assert_eq!(seen, recent.seen(&sighting, REACH));
        if seen.is_none() {
            own.remember(sighting);
            recent.remember(sighting);
        }
        seen.is_none()
    };
    hits.iter().map(is_new).collect()
}

#[test]
fn a_blank_hides_no_packet() {
    let sighting = Identity::default().sighting(&TCP);
    let mut recent = RecentPackets::new(100);
    recent.remember(sighting.blank());
    assert_eq!(recent.seen(&sighting, REACH), None);
    recent.remember(sighting);
    recent.remember(sighting.blank());
    assert_eq!(recent.seen(&sighting, REACH), Some(Duration::ZERO));
}

#[test]
fn a_syn_sent_again_after_one_three_and_seven_seconds_counts_once() {
    let mut again = TCP;
    again.mark.id = Some(4712);
    let hits = [0, 1_000, 3_000, 7_000, 10_000].map(|millis| later(&again, millis));
    assert_eq!(new(&hits), [true, false, false, false, false]);
}

#[test]
fn the_ten_seconds_run_from_the_last_sighting() {
    let hits = [0, 3_000, 11_300, 21_300, 31_301].map(|millis| later(&TCP, millis));
    assert_eq!(new(&hits), [true, false, false, false, true]);
}

#[test]
fn where_the_sequence_number_is_logged_it_decides() {
    let mut syn = TCP;
    syn.mark.seq = Some(1);
    let late = later(&syn, 64_000);
    let mut next = later(&syn, 500);
    next.mark.seq = Some(2);
    assert_eq!(new(&[syn, next, late]), [true, true, false]);
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
        at: seen.at.after(Duration::from_secs(121)),
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
        "what is over two minutes old is not remembered"
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
fn datagrams_without_an_id_are_as_many_as_one_source_shows() {
    for id in [None, Some(0)] {
        let first = udp(id);
        assert_eq!(new(&[first, first, later(&first, 2)]), [true; 3]);
        let other = Hit { source: 1, ..first };
        let both = [first, first, other, other, other];
        assert_eq!(new(&both), [true, true, false, false, true]);
        let by_two_rules = [first, Hit { rule: 1, ..first }, first];
        assert_eq!(new(&by_two_rules), [true, false, true]);
    }
}

#[test]
fn simultaneous_datagrams_without_an_id_are_distinguished_by_the_kernels_stamps() {
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
fn another_sender_is_another_packet() {
    let mut other = TCP;
    other.src = std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 8));
    let six = Hit {
        src: std::net::Ipv6Addr::LOCALHOST.into(),
        dst: std::net::Ipv6Addr::UNSPECIFIED.into(),
        ..TCP
    };
    let other_six = Hit {
        src: std::net::Ipv6Addr::UNSPECIFIED.into(),
        ..six
    };
    assert_eq!(new(&[TCP, other, six, other_six]), [true; 4]);
}

#[test]
fn what_is_remembered_of_one_address_is_bounded() {
    let (mut packets, identity) = (OwnPackets::default(), Identity::default());
    for port in 1..=1_000 {
        let mut hit = TCP;
        hit.ports.src = port;
        let sighting = identity.sighting(&hit);
        assert!(packets.seen(&sighting, REACH).is_none());
        packets.remember(sighting);
        assert!(packets.len() <= REMEMBERED);
    }
}

proptest! {
    #[test]
    fn the_ring_does_what_a_plain_list_does(
        packets in prop::collection::vec((0..3_000_u64, 1..40_u16, 0..3_u8, 0..2_u16), 1..400),
        limit in 1..120_usize,
        reach in 10..40_u64,
    ) {
        let reach = Duration::from_secs(reach);
        let identity = Identity::default();
        let (mut recent, mut plain) = (RecentPackets::new(limit), VecDeque::<Sighting>::new());
        let mut hit = TCP;
        for (millis, port, kind, source) in packets {
            hit = Hit { source, ..later(&hit, millis / 40 * (millis % 3)) };
            hit.ports.src = port;
            (hit.step.transport, hit.mark.id) = match kind {
                0 => (Transport::Tcp, None),
                1 => (Transport::Udp, Some(port)),
                _ => (Transport::Udp, None),
            };
            let sighting = identity.sighting(&hit);
            let alike = plain.iter_mut().rev();
            let alike = alike.filter(|seen| seen.identity == sighting.identity).take(REMEMBERED);
            let alike = alike.filter(|seen| seen.at >= sighting.horizon(reach));
            let again = alike.filter_map(|seen| Some((seen.age_at(&sighting, reach)?, seen)));
            let seen = again.last().map(|(age, seen)| {
                seen.join(&sighting);
                age
            });
            prop_assert_eq!(recent.seen(&sighting, reach), seen);
            if seen.is_none() {
                recent.remember(sighting);
                plain.push_back(sighting);
                if plain.len() > limit {
                    plain.pop_front();
                }
            }
        }
    }
}
