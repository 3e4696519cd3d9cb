//! Opens and closes by hand, together with knocks.

use super::chained::Engine;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::attempts::Limits;
use super::door::{Door, GrantRule, OnRepeat, PerFamily, Scope};
use super::event::Whence;
use super::grant::{Answer, GrantId, NotOpened, Phase, Task};
use super::knock::Logged;
use super::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use super::*;

const PORTS: [u16; 3] = [7001, 7002, 7003];

/// Opens the door called `name` for `src`, as if it had knocked; `None` if there is no such door.
fn open_by_hand(
    engine: &mut Engine,
    now: Time,
    name: &str,
    src: IpAddr,
) -> Option<Result<Answer, NotOpened>> {
    let door = engine.detection.door(name)?;
    let answer = engine.grants.handle_open(&door, src, now);
    engine.pass_on(now);
    Some(answer)
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn door(on_repeat: OnRepeat) -> Door {
    let plain = example::door(&PORTS);
    let command = PerFamily {
        v6: None,
        ..example::command(&["/bin/do", "%IP%", "%PORT%", "%IN%", "%DST%"])
    };
    Door {
        scope: Scope {
            interface: Some("eth7".into()),
            ..plain.scope
        },
        grant: GrantRule {
            hold: Duration::from_secs(10),
            on_repeat,
            open: command.clone(),
            close: command,
            ..plain.grant
        },
        ..plain
    }
}

fn engine(on_repeat: OnRepeat) -> Engine {
    let doors = vec![Arc::new(door(on_repeat))];
    Engine::new(doors, Duration::ZERO, Limits::default())
}

fn kinds(engine: &mut Engine) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    while let Some(event) = engine.poll_event() {
        assert_eq!(event.whence, None);
        kinds.push(event.kind.as_str());
    }
    kinds
}

fn open(engine: &mut Engine, at: i64) -> Answer {
    let answer = open_by_hand(engine, Time::from_secs(at), "ssh", address(7));
    answer.unwrap().unwrap()
}

/// Answers every order with success; gives the words of those that are commands.
fn carry_out(engine: &mut Engine, now: i64) -> Vec<&'static str> {
    let mut done = Vec::new();
    while let Some(order) = engine.poll_order() {
        engine.handle_finished(Time::from_secs(now), &order, Outcome::Done);
        done.push(match order.task {
            Task::Open(_) => "open",
            Task::Close(_) => "close",
            Task::Run(_) | Task::Mark(_) => continue,
        });
    }
    done
}

#[test]
fn a_door_that_is_opened_by_hand_closes_as_any_other() {
    let mut engine = engine(OnRepeat::Extend);
    open(&mut engine, 0);
    assert_eq!(carry_out(&mut engine, 0), ["open"]);
    assert_eq!(engine.grants.len(), 1);
    let (_, grant) = engine.grants.iter().next().unwrap();
    assert_eq!((&*grant.door, grant.src), ("ssh", address(7)));
    assert_eq!(grant.phase, Phase::Open);
    assert_eq!(grant.deadline, Time::from_secs(10));
    engine.handle_timeout(Time::from_secs(10));
    assert_eq!(carry_out(&mut engine, 10), ["close"]);
    assert!(engine.grants.is_empty());
    assert_eq!(kinds(&mut engine), ["open", "close"]);
}

#[test]
fn opening_by_hand_again_follows_on_repeat() {
    for (on_repeat, answer, events) in [
        (OnRepeat::Extend, Answer::Extended, vec!["open", "refresh"]),
        (OnRepeat::Ignore, Answer::Ignored, vec!["open"]),
        (
            OnRepeat::Reopen,
            Answer::Opening(GrantId(2)),
            vec!["open", "close", "open"],
        ),
    ] {
        let mut engine = engine(on_repeat);
        assert_eq!(open(&mut engine, 0), Answer::Opening(GrantId(1)));
        carry_out(&mut engine, 0);
        assert_eq!(open(&mut engine, 1), answer);
        carry_out(&mut engine, 1);
        assert_eq!(kinds(&mut engine), events, "{on_repeat:?}");
    }
}

#[test]
fn its_command_gets_the_facts_of_the_last_knock() {
    let mut engine = engine(OnRepeat::Extend);
    open(&mut engine, 0);
    let order = engine.poll_order().unwrap();
    assert_eq!(order.task, Task::Open(GrantId(1)));
    assert_eq!(
        order.invocation.unwrap().argv,
        ["/bin/do", "192.0.2.7", "7003", "eth7", "0.0.0.0"]
    );
}

#[test]
fn what_cannot_be_opened_is_refused() {
    let mut engine = engine(OnRepeat::Extend);
    let now = Time::from_secs(0);
    assert_eq!(open_by_hand(&mut engine, now, "smtp", address(7)), None);
    for (src, why) in [
        (IpAddr::from([0; 16]), NotOpened::NoCommand),
        (IpAddr::from([224, 0, 0, 1]), NotOpened::Nobody),
    ] {
        assert_eq!(open_by_hand(&mut engine, now, "ssh", src), Some(Err(why)));
    }
    assert!(engine.poll_order().is_none() && engine.poll_event().is_none());
}

#[test]
fn closing_by_hand_is_for_one_address_or_for_all() {
    let mut engine = engine(OnRepeat::Extend);
    for last in 1..=3 {
        let opened = open_by_hand(&mut engine, Time::from_secs(0), "ssh", address(last));
        assert!(matches!(opened, Some(Ok(Answer::Opening(_)))));
    }
    carry_out(&mut engine, 0);
    let now = Time::from_secs(1);
    assert_eq!(engine.close_all(now, Some(address(9))), 0);
    let mapped = "::ffff:192.0.2.2".parse().unwrap();
    assert_eq!(engine.close_all(now, Some(mapped)), 1);
    assert_eq!(carry_out(&mut engine, 1), ["close"]);
    assert_eq!(engine.close_all(now, None), 2);
    assert_eq!(carry_out(&mut engine, 1), ["close", "close"]);
    assert!(engine.grants.is_empty());
}

#[test]
fn what_is_closed_by_hand_is_closed_with_the_grant_that_takes_its_place() {
    let mut engine = engine(OnRepeat::Reopen);
    open(&mut engine, 0);
    carry_out(&mut engine, 0);
    open(&mut engine, 1);
    assert_eq!(engine.close_all(Time::from_secs(1), None), 2);
    // The open is not worth running any more, which the executor sees in the phase.
    assert_eq!(carry_out(&mut engine, 2), ["close", "open", "close"]);
    assert!(engine.grants.is_empty());
}

#[test]
fn a_close_that_failed_is_seen_to_have_failed() {
    let mut engine = engine(OnRepeat::Extend);
    open(&mut engine, 0);
    carry_out(&mut engine, 0);
    engine.handle_timeout(Time::from_secs(10));
    let order = engine.poll_order().unwrap();
    assert_eq!(order.task, Task::Close(GrantId(1)));
    engine.handle_finished(Time::from_secs(10), &order, Outcome::Failed);
    let (_, grant) = engine.grants.iter().next().unwrap();
    assert_eq!((grant.phase, grant.failed), (Phase::Owed, 1));
    assert_eq!(grant.timer(), Some(Time::from_secs(11)));
}

#[test]
fn attempts_are_counted_at_each_door() {
    let mut engine = engine(OnRepeat::Extend);
    let knock = |engine: &mut Engine, src: u8, port: u16| {
        let packet = Packet {
            prefix: b"",
            iif: b"eth7",
            oif: b"",
            headers: Headers {
                src: address(src),
                dst: address(1),
                proto: Proto::Tcp,
                ports: Some(Ports {
                    src: 40_000,
                    dst: port,
                }),
                flags: TcpFlags::SYN,
                mark: Fingerprint::default(),
            },
        };
        let sighting = Sighting {
            packet,
            at: Time::from_secs(0),
            uptime: None,
            logged: Logged::default(),
            whence: Whence { source: 0, line: 1 },
        };
        engine.handle_packet(Time::from_secs(0), &sighting).unwrap();
    };
    let attempts = |engine: &Engine| engine.detection.attempts.by_door()[0].1;
    for (src, port, count) in [
        (7, 7001, 1),
        (8, 7001, 2),
        (7, 7002, 2),
        (7, 9, 1),
        (9, 9, 1),
    ] {
        knock(&mut engine, src, port);
        assert_eq!(attempts(&engine), count);
    }
}
