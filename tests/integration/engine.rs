//! What must hold for every sequence of packets, whatever the doors are.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::config;
use logknock::engine::Sighting;
use logknock::engine::attempts::Limits;
use logknock::engine::door::{
    Door, GrantRule, OnRepeat, OtherPorts, Pace, PerFamily, Rule, SequenceRule,
};
use logknock::engine::event::{Event, EventKind, Whence};
use logknock::engine::sequence::Step;
use logknock::engine::time::Time;
use logknock::engine::timeline::{Received, Stamps, Timeline};
use proptest::prelude::*;

use super::example;
use super::knocks::{
    ENTRANCE, Knock, door, knocks, named, packet, run_out, run_to, settle, sighting, step,
};

/// Runs `knocks` with commands that succeed at once, then lets the clock run until all is closed.
fn run(doors: &[Arc<Door>], knocks: &[Knock]) -> Vec<Event> {
    let mut engine = Engine::new(doors.to_vec(), Duration::ZERO, Limits::default());
    let mut now = Time::from_secs(0);
    let mut events = Vec::new();
    for (number, knock) in knocks.iter().enumerate() {
        now = now.after(Duration::from_secs(knock.after));
        run_to(&mut engine, now);
        engine
            .handle_packet(now, &sighting(number, knock, now))
            .unwrap();
        settle(&mut engine, now);
        events.extend(std::iter::from_fn(|| engine.poll_event()));
    }
    run_out(&mut engine);
    events.extend(std::iter::from_fn(|| engine.poll_event()));
    assert_eq!(
        (engine.grants.len(), engine.detection.attempts.len()),
        (0, 0),
        "something is left for ever"
    );
    events
}

/// Which knocks complete `door` for an address, read straight from the rule: from some knock on the steps were
/// made in order and within the window, and between two of them came none but ports that had been made, or that
/// do not count.
fn completed(door: &Door, knocks: &[Knock], from: u8) -> Vec<u64> {
    let Rule::Sequence(rule) = &door.rule else {
        panic!("no sequence")
    };
    let steps = rule.sequence.steps();
    let is_whole = |knocks: &[(u64, Step)]| {
        let mut made = 0;
        for &(at, step) in knocks {
            if at - knocks[0].0 > rule.pace.window.as_secs() {
                return false;
            }
            if steps.get(made) == Some(&step) {
                made += 1;
            } else if !steps[..made].contains(&step) {
                return false;
            }
        }
        made == steps.len() && knocks.last().map(|(_, step)| step) == steps.last()
    };
    let (mut now, mut history, mut lines) = (0, Vec::new(), Vec::new());
    for (number, knock) in knocks.iter().enumerate() {
        now += knock.after;
        let knocked = step((knock.port, knock.udp));
        let counts = rule.pace.other_ports == OtherPorts::Reset || rule.sequence.has(knocked);
        if knock.from != from || !counts {
            continue;
        }
        history.push((now, knocked));
        if (0..history.len()).any(|first| is_whole(&history[first..])) {
            lines.push(number as u64 + 1);
            history.clear();
        }
    }
    lines
}

fn of(events: &[Event], from: u8) -> Vec<Event> {
    let src = IpAddr::V4(Ipv4Addr::new(192, 0, 2, from));
    events
        .iter()
        .filter(|event| event.src == src)
        .cloned()
        .collect()
}

/// Events without the order in which doors were asked.
fn sorted(events: &[Event]) -> Vec<String> {
    let mut lines: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
    lines.sort();
    lines
}

proptest! {
    #[test]
    fn a_door_completes_exactly_when_the_last_knocks_are_its_sequence_within_its_window(
        door in door(), knocks in knocks(60),
    ) {
        let door = Door { grant: GrantRule { close: PerFamily::default(), ..door.grant }, ..door };
        let events = run(&named(vec![door.clone()]), &knocks);
        for from in 1..4 {
            let opened = of(&events, from).iter().filter(|event| event.kind == EventKind::Open)
                .filter_map(|event| event.whence.map(|whence| whence.line)).collect::<Vec<_>>();
            prop_assert_eq!(opened, completed(&door, &knocks, from));
        }
    }

    #[test]
    fn two_addresses_never_influence_each_other(doors in prop::collection::vec(door(), 1..4), knocks in knocks(60)) {
        let doors = named(doors);
        let together = run(&doors, &knocks);
        for from in 1..4 {
            let mut silent = knocks.clone();
            // The others' packets go to nobody: same times, another destination of no door.
            for knock in &mut silent {
                if knock.from != from { knock.from = 200; }
            }
            prop_assert_eq!(of(&together, from), of(&run(&doors, &silent), from));
        }
    }

    #[test]
    fn the_order_of_doors_never_matters(doors in prop::collection::vec(door(), 1..4), knocks in knocks(60)) {
        let doors = named(doors);
        let reversed: Vec<_> = doors.iter().rev().cloned().collect();
        prop_assert_eq!(sorted(&run(&doors, &knocks)), sorted(&run(&reversed, &knocks)));
    }

    #[test]
    fn every_open_is_followed_by_exactly_one_close(doors in prop::collection::vec(door(), 1..4), knocks in knocks(60)) {
        let mut open = HashSet::new();
        for event in run(&named(doors), &knocks) {
            let key = (event.door.clone(), event.src);
            match event.kind {
                EventKind::Open => prop_assert!(open.insert(key), "opened twice: {event:?}"),
                EventKind::Close => prop_assert!(open.remove(&key), "closed twice: {event:?}"),
                EventKind::Refresh => prop_assert!(open.contains(&key), "refreshed while closed: {event:?}"),
                _ => {}
            }
        }
        prop_assert!(open.is_empty(), "left open: {open:?}");
    }

    #[test]
    fn a_door_for_one_closes_at_its_own_knockers_first_connection_and_at_nothing_else(
        doors in prop::collection::vec(door(), 1..4), knocks in knocks(60),
    ) {
        let doors = named(doors);
        let (mut open, mut last) = (HashMap::new(), 0);
        let mut clock = Time::from_secs(0);
        let times: Vec<_> = knocks.iter().map(|knock| {
            clock = clock.after(Duration::from_secs(knock.after));
            clock
        }).collect();
        for event in run(&doors, &knocks) {
            let rule = &doors.iter().find(|door| door.name == event.door).unwrap().grant;
            let enters = |line: usize| {
                let knock = &knocks[line - 1];
                IpAddr::V4(Ipv4Addr::new(192, 0, 2, knock.from)) == event.src && step((knock.port, knock.udp)) == ENTRANCE
            };
            let line = event.whence.map(|whence| usize::try_from(whence.line).unwrap());
            let key = (event.door.clone(), event.src);
            last = line.unwrap_or(last);
            match event.kind {
                // The one that follows a close has the line of that.
                EventKind::Open => { open.insert(key, line.unwrap_or(last)); }
                EventKind::Close => {
                    let opened = open.remove(&key).unwrap();
                    let end = line.unwrap_or_else(|| times.partition_point(|time| *time < event.at) + 1);
                    let came = (opened + 1..end).find(|line| enters(*line));
                    prop_assert!(rule.once.is_empty() || came.is_none(), "open after {came:?}");
                    let by_line = line.is_none_or(|line| rule.on_repeat == OnRepeat::Reopen
                        || !rule.once.is_empty() && enters(line));
                    prop_assert!(by_line, "closed by {line:?}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn events_are_bounded_by_lines(doors in prop::collection::vec(door(), 1..4), knocks in knocks(60)) {
        // A packet makes at most a reset and a stage, and lets a window or a grant end once, at each door.
        let events = run(&named(doors.clone()), &knocks);
        prop_assert!(events.len() <= 6 * knocks.len() * doors.len());
    }

    #[test]
    fn a_packet_logged_twice_changes_nothing(doors in prop::collection::vec(door(), 1..4), knocks in knocks(40)) {
        let doors = named(doors);
        let mut engine = Engine::new(doors.clone(), Duration::ZERO, Limits::default());
        let mut now = Time::from_secs(0);
        let mut events = Vec::new();
        for (number, knock) in knocks.iter().enumerate() {
            now = now.after(Duration::from_secs(knock.after));
            let sighting = sighting(number, knock, now);
            run_to(&mut engine, now);
            prop_assert!(engine.handle_packet(now, &sighting).is_ok());
            settle(&mut engine, now);
            let other = Whence { source: 1, ..sighting.whence };
            let again = Sighting { whence: other, ..sighting };
            prop_assert!(engine.handle_packet(now, &again).is_err());
            events.extend(std::iter::from_fn(|| engine.poll_event()));
        }
        let once = run(&doors, &knocks);
        prop_assert_eq!(events.as_slice(), &once[..events.len()]);
    }

    #[test]
    fn live_and_replay_agree_on_the_same_lines(
        doors in prop::collection::vec(door(), 1..4),
        knocks in knocks(60),
        delays in prop::collection::vec(0..400_u64, 60),
    ) {
        let doors = named(doors);
        let boot = Time::from_secs(5_000);
        let mut live = Engine::new(doors.clone(), Duration::from_secs(1), Limits::default());
        let mut clock = Timeline::new(Duration::from_secs(30), *b"fw");
        let mut uptime = boot;
        let mut latest = boot;
        let mut opened = Vec::new();
        for ((number, knock), delay) in knocks.iter().enumerate().zip(delays) {
            uptime = uptime.after(off_the_second(knock));
            // Lines come in order and up to 0.4 s late; the first comes at once and sets the clock.
            let delay = if number == 0 { 0 } else { delay };
            latest = latest.max(uptime.after(Duration::from_millis(delay)));
            let received = Received { now: latest, awake: latest, wall: latest, late: false };
            let stamps = Stamps { host: b"fw", wall: None, uptime: Some(uptime) };
            let placed = clock.place_live(stamps, received).unwrap();
            let sighting = Sighting { uptime: Some(uptime), ..sighting(number, knock, placed.at) };
            live.handle_packet(latest, &sighting).unwrap();
            settle(&mut live, latest);
            opened.extend(std::iter::from_fn(|| live.poll_event()).filter_map(stage_of));
        }
        let replayed: Vec<_> = run_odd(&doors, &knocks).into_iter().filter_map(stage_of).collect();
        prop_assert_eq!(opened, replayed);
    }
}

#[test]
fn a_door_that_was_opened_anew_is_closed_with_all_others() {
    let config = "[door.door]\nsequence = [1]\non_repeat = \"reopen\"\n\
        start_command = \"/bin/open\"\nstop_command = \"/bin/close\"\n";
    let doors = config::parse("logknock.toml", config).unwrap().doors;
    let mut engine = Engine::new(doors, Duration::ZERO, Limits::default());
    let knock = Knock {
        after: 0,
        from: 7,
        port: 1,
        udp: false,
    };
    let now = Time::from_secs(1);
    for number in 0..2 {
        let sighting = sighting(number, &knock, now);
        engine.handle_packet(now, &sighting).unwrap();
    }
    engine.close_all(now, None);
    settle(&mut engine, now);
    let events = std::iter::from_fn(|| engine.poll_event()).map(|event| event.kind);
    let events: Vec<_> = events
        .filter(|kind| !matches!(kind, EventKind::Stage { .. }))
        .collect();
    let twice = [EventKind::Open, EventKind::Close].repeat(2);
    assert_eq!(events, twice);
    assert!(engine.grants.is_empty());
}

/// So long after the last knock, such that no sum of it comes near a window of whole seconds: at the
/// very end of a window a late line may rightly differ, as the clock allows for drift.
fn off_the_second(knock: &Knock) -> Duration {
    Duration::from_millis(knock.after * 930)
}

/// What a line did, without when: the stages that it reached.
fn stage_of(event: Event) -> Option<(u64, Arc<str>, usize)> {
    match (event.kind, event.whence) {
        (EventKind::Stage { stage, .. }, Some(whence)) => Some((whence.line, event.door, stage)),
        _ => None,
    }
}

/// As [`run`], but off the second and without grants.
fn run_odd(doors: &[Arc<Door>], knocks: &[Knock]) -> Vec<Event> {
    let mut engine = Engine::new(doors.to_vec(), Duration::ZERO, Limits::default());
    let mut clock = Timeline::new(Duration::from_secs(30), *b"fw");
    let mut uptime = Time::from_secs(5_000);
    for (number, knock) in knocks.iter().enumerate() {
        uptime = uptime.after(off_the_second(knock));
        let stamps = Stamps {
            host: b"fw",
            wall: None,
            uptime: Some(uptime),
        };
        let placed = clock.place_logged(stamps, std::iter::empty());
        let sighting = Sighting {
            uptime: Some(uptime),
            ..sighting(number, knock, placed.at)
        };
        engine.handle_packet(placed.at, &sighting).unwrap();
        settle(&mut engine, placed.at);
    }
    std::iter::from_fn(|| engine.poll_event()).collect()
}

#[test]
fn the_table_stays_bounded_and_keeps_the_address_that_is_further_on() {
    let plain = example::door(&[1, 2, 3]);
    let command = || example::command(&["true", "%IP%"]);
    let door = Door {
        rule: Rule::Sequence(SequenceRule {
            pace: Pace {
                window: Duration::from_secs(60),
                ..example::PACE
            },
            ..example::rule(&[1, 2, 3])
        }),
        grant: GrantRule {
            hold: Duration::from_secs(10),
            open: command(),
            close: command(),
            ..plain.grant
        },
        ..plain
    };
    let limits = Limits {
        knockers: 100,
        memories: 1_000,
        packets: 1_000,
    };
    let mut engine = Engine::new(vec![Arc::new(door)], Duration::ZERO, limits);
    let mut opened = 0;
    let mut now = Time::from_secs(0);
    let mut hit = |engine: &mut Engine, src: [u8; 4], port: u16| {
        now = now.after(Duration::from_micros(10));
        let knock = Knock {
            after: 0,
            from: 0,
            port,
            udp: false,
        };
        let mut packet = packet(usize::from(port), &knock);
        packet.headers.src = IpAddr::from(src);
        let sighting = Sighting {
            packet,
            ..sighting(0, &knock, now)
        };
        engine.handle_packet(now, &sighting).unwrap();
        settle(engine, now);
        assert!(engine.detection.attempts.len() <= 100);
    };
    hit(&mut engine, [192, 0, 2, 1], 1);
    hit(&mut engine, [192, 0, 2, 1], 2);
    for stranger in 0..10_000_u32 {
        let [_, _, high, low] = stranger.to_be_bytes();
        hit(&mut engine, [10, 0, high, low], 1);
    }
    hit(&mut engine, [192, 0, 2, 1], 3);
    while let Some(event) = engine.poll_event() {
        opened += usize::from(event.kind == EventKind::Open);
    }
    assert_eq!(opened, 1);
}
