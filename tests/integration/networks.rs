//! `knocker_prefix_v6`: all addresses of one network knock as one, and no network minds another.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use logknock::engine::detector::Limits;
use logknock::engine::door::{Door, GrantRule, PerFamily};
use logknock::engine::event::{Event, Whence};
use logknock::engine::knock::{KnockerPrefix, Logged};
use logknock::engine::packet::Packet;
use logknock::engine::time::Time;
use logknock::engine::{Engine, Sighting};
use proptest::prelude::*;

use super::engine::{Knock, door, knocks, named, packet, settle};

/// A knock, and from which host of which network.
type Sent = (Knock, (u16, u16));

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let hosts = prop::collection::vec((1..3_u16, 1..5_u16), 60);
    (knocks(60), hosts).prop_map(|(knocks, hosts)| knocks.into_iter().zip(hosts).collect())
}

fn address((network, host): (u16, u16)) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0xa, host, 0, host).into()
}

fn run(doors: &[Arc<Door>], bits: u8, sent: &[Sent]) -> Vec<Event> {
    let mut engine = Engine::new(doors.to_vec(), Duration::ZERO, Limits::default(), 0);
    engine.set_knocker_prefix(KnockerPrefix::new(bits).unwrap());
    let mut now = Time::from_secs(0);
    for (number, (knock, host)) in sent.iter().enumerate() {
        now = now.after(Duration::from_secs(knock.after));
        while let Some(due) = engine.poll_timeout().filter(|&due| due <= now) {
            engine.handle_timeout(due);
            settle(&mut engine, due);
        }
        let sighting = Sighting {
            packet: Packet {
                src: address(*host),
                dst: IpAddr::V6(Ipv6Addr::LOCALHOST),
                ..packet(number, knock)
            },
            at: now,
            uptime: None,
            logged: Logged::default(),
            whence: Whence {
                source: 0,
                line: number as u64,
            },
        };
        engine.handle_packet(now, &sighting).unwrap();
        settle(&mut engine, now);
    }
    while let Some(due) = engine.poll_timeout() {
        engine.handle_timeout(due);
        settle(&mut engine, due);
    }
    std::iter::from_fn(|| engine.poll_event()).collect()
}

fn doors() -> impl Strategy<Value = Vec<Arc<Door>>> {
    prop::collection::vec(door(), 1..4).prop_map(named)
}

/// The same doors, of which nothing stays open: what stays open is open for one address.
fn without_grants(doors: &[Arc<Door>]) -> Vec<Arc<Door>> {
    let without = |door: &Arc<Door>| {
        let close = PerFamily::default();
        let grant = GrantRule {
            close,
            ..door.grant.clone()
        };
        Arc::new(Door {
            grant,
            ..Door::clone(door)
        })
    };
    doors.iter().map(without).collect()
}

/// All from the first host of their network.
fn from_one_host(sent: &[Sent]) -> Vec<Sent> {
    let one = |(knock, (network, _)): &Sent| (knock.clone(), (*network, 1));
    sent.iter().map(one).collect()
}

fn of(events: &[Event], network: u16) -> Vec<Event> {
    let is_of = |event: &&Event| matches!(event.src, IpAddr::V6(v6) if v6.segments()[3] == network);
    events.iter().filter(is_of).cloned().collect()
}

proptest! {
    #[test]
    fn the_hosts_of_a_network_knock_as_one_would(doors in doors(), sent in sent()) {
        let doors = without_grants(&doors);
        let many = run(&doors, 64, &sent);
        let one = run(&doors, 128, &from_one_host(&sent));
        let alike = |events: &[Event]| {
            let what = |event: &Event| format!("{} {:?} {:?} {:?}", event.door, event.at, event.kind, event.whence);
            events.iter().map(what).collect::<Vec<_>>()
        };
        prop_assert_eq!(alike(&many), alike(&one));
        // What a line does is told of, and opened for, the address that sent it.
        for event in &many {
            if let Some(whence) = event.whence {
                prop_assert_eq!(event.src, address(sent[usize::try_from(whence.line).unwrap()].1));
            }
        }
    }

    #[test]
    fn networks_never_influence_each_other(doors in doors(), sent in sent()) {
        let together = run(&doors, 64, &sent);
        for network in 1..3 {
            let mut alone = sent.clone();
            for (_, host) in &mut alone {
                if host.0 != network { *host = (200, 1); }
            }
            prop_assert_eq!(of(&together, network), of(&run(&doors, 64, &alone), network));
        }
    }

    #[test]
    fn where_each_network_has_one_host_nothing_changes(doors in doors(), sent in sent()) {
        let one = from_one_host(&sent);
        prop_assert_eq!(run(&doors, 64, &one), run(&doors, 128, &one));
    }
}
