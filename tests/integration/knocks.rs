//! Random doors and random knocks at them, and an engine that is driven as the daemon drives it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::engine::Sighting;
use logknock::engine::door::{Door, GrantRule, OnRepeat, OtherPorts, Pace, Rule, SequenceRule};
use logknock::engine::event::Whence;
use logknock::engine::knock::Logged;
use logknock::engine::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use logknock::engine::sequence::{Sequence, Step, Transport};
use logknock::engine::time::Time;
use proptest::prelude::*;

use super::example::{self, tcp};

/// A packet: seconds after the one before, who, to which port, and whether it is a packet sent before.
#[derive(Clone, Debug)]
pub(super) struct Knock {
    pub(super) after: u64,
    pub(super) from: u8,
    pub(super) port: u16,
    pub(super) udp: bool,
}

pub(super) fn knocks(count: usize) -> impl Strategy<Value = Vec<Knock>> {
    let knock = (0..4_u64, 1..4_u8, 1..5_u16, prop::bool::weighted(0.2));
    prop::collection::vec(
        knock.prop_map(|(after, from, port, udp)| Knock {
            after,
            from,
            port,
            udp,
        }),
        0..count,
    )
}

pub(super) fn door() -> impl Strategy<Value = Door> {
    let steps = prop::collection::vec((1..4_u16, prop::bool::weighted(0.1)), 1..5);
    let repeat = prop_oneof![
        Just(OnRepeat::Extend),
        Just(OnRepeat::Ignore),
        Just(OnRepeat::Reopen)
    ];
    let other = prop_oneof![Just(OtherPorts::Reset), Just(OtherPorts::Ignore)];
    (steps, 1..12_u64, other, repeat, 1..20_u64, any::<bool>()).prop_map(
        |(steps, window, other_ports, on_repeat, hold, once)| {
            let plain = example::door(&[1]);
            let command = || example::command(&["true", "%IP%"]);
            Door {
                rule: Rule::Sequence(SequenceRule {
                    sequence: Sequence::new(steps.into_iter().map(step).collect::<Vec<_>>())
                        .unwrap(),
                    pace: Pace {
                        window: Duration::from_secs(window),
                        other_ports,
                        ..example::PACE
                    },
                }),
                grant: GrantRule {
                    hold: Duration::from_secs(hold),
                    on_repeat,
                    open: command(),
                    close: command(),
                    once: if once {
                        Box::new([ENTRANCE])
                    } else {
                        Box::default()
                    },
                    ..plain.grant
                },
                ..plain
            }
        },
    )
}

/// A port that is in no sequence, of which a door may let in one connection.
pub(super) const ENTRANCE: Step = tcp(4);

/// A port, and whether it is one of UDP.
pub(super) fn step((port, udp): (u16, bool)) -> Step {
    Step {
        port,
        transport: if udp { Transport::Udp } else { Transport::Tcp },
    }
}

pub(super) fn named(doors: Vec<Door>) -> Vec<Arc<Door>> {
    let name = |(number, door)| {
        Arc::new(Door {
            name: format!("door{number}").into(),
            ..door
        })
    };
    doors.into_iter().enumerate().map(name).collect()
}

pub(super) fn packet(number: usize, knock: &Knock) -> Packet<'static> {
    Packet {
        prefix: b"",
        iif: b"eth0",
        oif: b"",
        headers: Headers {
            src: IpAddr::V4(Ipv4Addr::new(192, 0, 2, knock.from)),
            dst: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
            proto: if knock.udp { Proto::Udp } else { Proto::Tcp },
            ports: Some(Ports {
                src: u16::try_from(number).unwrap() + 1024,
                dst: knock.port,
            }),
            flags: if knock.udp {
                TcpFlags::NONE
            } else {
                TcpFlags::SYN
            },
            mark: Fingerprint::default(),
        },
    }
}

/// `knock` as the line of its number, which comes when it is logged; the kernel's stamp is not looked at.
pub(super) fn sighting(number: usize, knock: &Knock, at: Time) -> Sighting<'static> {
    Sighting {
        packet: packet(number, knock),
        at,
        uptime: None,
        logged: Logged::default(),
        whence: Whence {
            source: 0,
            line: number as u64 + 1,
        },
    }
}

/// Lets the clock run to `now`: every deadline until then is met, in order.
pub(super) fn run_to(engine: &mut Engine, now: Time) {
    while let Some(due) = engine.poll_timeout().filter(|&due| due <= now) {
        engine.handle_timeout(due);
        settle(engine, due);
    }
}

/// Lets the clock run until nothing is due any more.
pub(super) fn run_out(engine: &mut Engine) {
    while let Some(due) = engine.poll_timeout() {
        engine.handle_timeout(due);
        settle(engine, due);
    }
}

/// Answers every order with success.
pub(super) fn settle(engine: &mut Engine, now: Time) {
    engine.settle(now, &mut |_, _| {});
}
