//! One process after another on the same log: no knock is answered twice, and none that is whole is lost.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::Sighting;
use super::super::attempts::Limits;
use super::super::chained::Engine;
use super::super::door::{Door, GrantRule, OtherPorts, Pace, Rule, SequenceRule};
use super::super::event::Whence;
use super::super::example;
use super::super::grant::Task;
use super::super::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use super::super::reason::Reason;
use super::*;

const SRC: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A door that runs a command at every completed knock.
fn door(name: &str, ports: &[u16], other_ports: OtherPorts) -> Arc<Door> {
    let plain = example::door(ports);
    Arc::new(Door {
        name: name.into(),
        rule: Rule::Sequence(SequenceRule {
            pace: Pace {
                other_ports,
                ..example::PACE
            },
            ..example::rule(ports)
        }),
        grant: GrantRule {
            hold: Duration::from_secs(30),
            open: example::command(&["/bin/do", "%IP%"]),
            ..plain.grant
        },
        ..plain
    })
}

fn doors() -> Vec<Arc<Door>> {
    vec![
        door("strict", &[1, 2, 1], OtherPorts::Reset),
        door("loose", &[2, 1], OtherPorts::Ignore),
        door("single", &[3], OtherPorts::Ignore),
    ]
}

/// A packet in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Line {
    at: Time,
    from: u8,
    port: u16,
    spt: u16,
}

/// Which stamps a log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamped {
    Kernel,
    Header,
}

/// One process that reads.
struct Process {
    engine: Engine,
    stamped: Stamped,
}

/// A door, an address, and the packet that completed the knock.
type Answered = (Arc<str>, u8, Line, Last);

impl Process {
    fn new(answers: &Answers, stamped: Stamped) -> Self {
        let mut engine = Engine::new(doors(), Duration::from_secs(1), Limits::default());
        for (door, src, at, last) in answers.iter() {
            engine
                .detection
                .attempts
                .restore_answer(door, src, at, last);
        }
        Self { engine, stamped }
    }

    /// Takes a line that it reads `now`; what it answers with.
    fn read(&mut self, line: Line, now: Time, late: bool) -> (Result<(), Reason>, Vec<Answered>) {
        let unix = line.at.after(Duration::from_secs(1_000_000));
        let logged = Logged {
            kernel: (self.stamped == Stamped::Kernel).then_some(line.at),
            header: Some(unix),
            late,
            clock: 0,
        };
        let packet = Packet {
            prefix: b"",
            iif: b"eth0",
            oif: b"",
            headers: Headers {
                src: Ipv4Addr::new(192, 0, 2, line.from).into(),
                dst: Ipv4Addr::new(198, 51, 100, 1).into(),
                proto: Proto::Tcp,
                ports: Some(Ports {
                    src: line.spt,
                    dst: line.port,
                }),
                flags: TcpFlags::SYN,
                mark: Fingerprint::default(),
            },
        };
        let sighting = Sighting {
            packet,
            // What a restart does to it: the newest line is taken for one that has just come.
            at: if late { now } else { line.at },
            uptime: logged.kernel,
            logged,
            whence: Whence { source: 0, line: 1 },
        };
        let verdict = self.engine.handle_packet(now, &sighting);
        let mut answered = Vec::new();
        while let Some(order) = self.engine.poll_order() {
            let Task::Run(door) = order.task else {
                panic!("{order:?}");
            };
            answered.push((door, line.from, line, order.last.unwrap()));
        }
        (verdict, answered)
    }
}

/// A log, read by one process up to `killed`, and by another from `checkpoint` on, which is started
/// `later`. What both answered.
fn live(
    log: &[Line],
    stamped: Stamped,
    (checkpoint, killed): (usize, usize),
    later: Duration,
) -> Vec<Answered> {
    let mut answers = Answers::default();
    let mut answered = Vec::new();
    let mut first = Process::new(&answers, stamped);
    for line in &log[..killed] {
        let (_, now) = first.read(*line, line.at, false);
        for (door, from, line, last) in now {
            let src = Ipv4Addr::new(192, 0, 2, from).into();
            answers.note(&door, src, line.at, last);
            answered.push((door, from, line, last));
        }
    }
    let start = log[..killed].last().map_or(Time::default(), |line| line.at);
    let start = start.after(later);
    let mut second = Process::new(&answers, stamped);
    for line in &log[checkpoint..] {
        // What was written before it was started is read late.
        let late = line.at <= start;
        answered.extend(second.read(*line, start.max(line.at), late).1);
    }
    answered
}

fn log() -> impl Strategy<Value = Vec<Line>> {
    // Milliseconds after the one before, who, the port, and which earlier packet is sent again.
    let line = (
        1..1500_u64,
        1..3_u8,
        1..4_u16,
        prop::option::weighted(0.1, 0..5_usize),
    );
    prop::collection::vec(line, 1..60).prop_map(|lines| {
        let mut at = Time::from_secs(1000);
        let mut log: Vec<Line> = Vec::new();
        for (number, (pause, from, port, again)) in (0..).zip(lines) {
            at = at.after(millis(pause));
            let again = again.and_then(|back| log.iter().rev().nth(back).copied());
            log.push(again.map_or(
                Line {
                    at,
                    from,
                    port,
                    spt: 40_000 + number,
                },
                |line| Line { at, ..line },
            ));
        }
        log
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_completes_two_knocks_at_a_door_whenever_the_reader_is_killed(
        log in log(),
        places in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        later in 0..20_000_u64,
        stamped in prop_oneof![Just(Stamped::Kernel), Just(Stamped::Header)],
    ) {
        let killed = places.0.index(log.len() + 1);
        let checkpoint = places.1.index(killed + 1);
        let answered = live(&log, stamped, (checkpoint, killed), millis(later));
        let mut seen: HashSet<_> = HashSet::new();
        let mut latest: HashMap<_, Line> = HashMap::new();
        for (door, from, line, _) in answered {
            prop_assert!(seen.insert((Arc::clone(&door), line)), "{door}: {line:?} twice");
            // The same ports later than a retransmission can be are another packet.
            if let Some(before) = latest.insert((door, from), line) {
                let is_same = (before.port, before.spt) == (line.port, line.spt);
                let elapsed = line.at.since(before.at);
                prop_assert!(!is_same || elapsed > RETRANSMISSION, "{line:?} again");
            }
        }
    }

    #[test]
    fn a_log_read_again_from_its_beginning_is_answered_as_without_a_crash(
        log in log(),
        killed in any::<prop::sample::Index>(),
        later in 0..500_u64,
    ) {
        let mut log = log;
        for (line, spt) in log.iter_mut().zip(40_000..) {
            line.spt = spt;
        }
        let whole = live(&log, Stamped::Kernel, (log.len(), log.len()), Duration::ZERO);
        let mut cut = live(&log, Stamped::Kernel, (0, killed.index(log.len() + 1)), millis(later));
        cut.sort_by_key(|(door, _, line, _)| (line.at, Arc::clone(door)));
        let mut whole = whole;
        whole.sort_by_key(|(door, _, line, _)| (line.at, Arc::clone(door)));
        prop_assert_eq!(cut, whole);
    }
}

fn line(at: u64, port: u16) -> Line {
    Line {
        at: Time::from_secs(1000).after(millis(at)),
        from: 7,
        port,
        spt: u16::try_from(at % 60_000).unwrap(),
    }
}

/// A process that continues after an answer to the packet of port 3 at 0 ms.
fn after_an_answer(stamped: Stamped) -> Process {
    let mut answers = Answers::default();
    let mut first = Process::new(&answers, stamped);
    let (_, answered) = first.read(line(0, 3), line(0, 3).at, false);
    let (door, _, line, last) = &answered[0];
    answers.note(door, SRC, line.at, *last);
    Process::new(&answers, stamped)
}

#[test]
fn a_line_read_again_is_counted_as_answered_and_a_later_one_counts() {
    let mut process = after_an_answer(Stamped::Kernel);
    let now = line(500, 3).at;
    let again = process.read(line(0, 3), now, true);
    assert_eq!(again, (Err(Reason::Answered), Vec::new()));
    let (verdict, answered) = process.read(line(1, 3), now, true);
    assert_eq!((verdict, answered.len()), (Ok(()), 1));
    assert_eq!(process.engine.detection.rejected().of(Reason::Answered), 1);
}

#[test]
fn the_packet_of_an_answered_knock_sent_again_later_is_not_another() {
    for (after, is_hidden) in [(1000, true), (3000, true), (10_000, true), (10_001, false)] {
        let mut process = after_an_answer(Stamped::Kernel);
        let again = Line {
            spt: 0,
            ..line(after, 3)
        };
        let (verdict, _) = process.read(again, again.at, false);
        assert_eq!(verdict.is_err(), is_hidden, "{after}");
    }
}

#[test]
fn a_line_with_only_a_header_stamp_must_be_a_second_later_if_no_process_read_meanwhile() {
    for (after, is_answered) in [(0, false), (999, false), (1000, false), (1001, true)] {
        let mut process = after_an_answer(Stamped::Header);
        let (_, answered) = process.read(line(after, 3), line(5000, 3).at, true);
        assert_eq!(!answered.is_empty(), is_answered, "{after}");
    }
}

#[test]
fn another_source_that_shows_the_packet_after_the_restart_shows_no_other_one() {
    // The first one had the kernel's stamps, and this one has not.
    for (after, is_hidden) in [(5, true), (1000, true), (1001, false)] {
        let mut process = after_an_answer(Stamped::Kernel);
        process.stamped = Stamped::Header;
        let (verdict, _) = process.read(line(after, 3), line(after, 3).at, false);
        assert_eq!(verdict.is_err(), is_hidden, "{after}");
    }
}

#[test]
fn a_door_that_cools_down_after_an_answer_does_so_over_a_restart() {
    let mut cooling = Arc::unwrap_or_clone(door("cooling", &[3], OtherPorts::Ignore));
    cooling.limits.cooldown = Some(Duration::from_secs(60));
    let mut engine = Engine::new(vec![Arc::new(cooling)], Duration::ZERO, Limits::default());
    let at = line(0, 3).at;
    engine
        .detection
        .attempts
        .restore_answer(&"cooling".into(), SRC, at, Last::default());
    let mut process = Process {
        engine,
        stamped: Stamped::Kernel,
    };
    for (after, count) in [(59_999, 0), (60_000, 0), (60_001, 1)] {
        let line = line(after, 3);
        assert_eq!(process.read(line, line.at, false).1.len(), count, "{after}");
    }
}

#[test]
fn other_addresses_and_other_doors_do_not_mind_an_answer() {
    let mut process = after_an_answer(Stamped::Kernel);
    let now = line(500, 3).at;
    let other = Line {
        from: 8,
        ..line(0, 3)
    };
    assert_eq!(process.read(other, now, true).1.len(), 1);
    assert!(process.read(line(0, 2), now, true).1.is_empty());
    assert_eq!(process.read(line(1, 1), now, true).1.len(), 1, "loose");
}

#[test]
fn an_answer_is_forgotten_after_an_hour_and_the_oldest_when_there_are_too_many() {
    let name: Arc<str> = "ssh".into();
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    let most = u32::try_from(MOST).unwrap();
    let mut answers = Answers::default();
    for number in 0..=most {
        let at = Time::from_secs(i64::from(number));
        answers.note(&name, address(number), at, Last::default());
    }
    assert_eq!(
        answers.iter().next().map(|(_, src, ..)| src),
        Some(address(1))
    );
    assert_eq!(answers.iter().count(), MOST);
    answers.expire(Time::from_secs(i64::from(most)).after(KEPT));
    assert!(answers.iter().map(|(_, src, ..)| src).eq([address(most)]));
}

#[test]
fn of_two_answers_the_later_packet_stands() {
    let name: Arc<str> = "ssh".into();
    let mut answers = Answers::default();
    for (at, kernel) in [(1, 50), (2, 40)] {
        let last = Last {
            kernel: Some(Time::from_secs(kernel)),
            ..Last::default()
        };
        answers.note(&name, SRC, Time::from_secs(at), last);
    }
    let all: Vec<_> = answers
        .iter()
        .map(|(_, _, at, last)| (at, last.kernel))
        .collect();
    assert_eq!(all, [(Time::from_secs(2), Some(Time::from_secs(50)))]);
}
