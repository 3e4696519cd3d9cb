//! What must hold of every door whose sequences open once, whatever is knocked, by whom, in which order,
//! and over any restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::engine::attempts::Limits;
use logknock::engine::door::{Door, GrantRule, OneTimeRule, PerFamily, Rule};
use logknock::engine::grant::Task;
use logknock::engine::one_time::{Line, List, Origin, Used};
use logknock::engine::sequence::{Sequence, Step, Transport};
use logknock::engine::time::Time;
use logknock::engine::totp::{REFUSAL, Secret, Totp, TotpKeys};
use proptest::prelude::*;

use super::example::{self, line};
use super::knocks::{Knock, sighting};

const STEP: i64 = 10;
const SKEW: u8 = 1;
const KNOCKS: u8 = 3;
/// Seconds between two knocks of a sequence: one may begin in one step of time and end in the next.
const PAUSE: i64 = 1;

/// What somebody does.
#[derive(Clone, Debug)]
enum Act {
    /// Knocks all of a sequence: that of so many steps later, or the line of this place in the list.
    Sequence { from: u8, which: i64 },
    /// Hits one port.
    Hit { from: u8, port: u16 },
    /// Seconds pass.
    Wait(i64),
    /// The daemon is killed, and a new one has what is on disk.
    Restart,
    /// The configuration is read anew.
    Reload,
}

fn acts(least: i64, most: i64) -> impl Strategy<Value = Vec<Act>> {
    let from = 1..4_u8;
    let act = prop_oneof![
        6 => (from.clone(), least..=most).prop_map(|(from, which)| Act::Sequence { from, which }),
        2 => (from, 1..6_u16).prop_map(|(from, port)| Act::Hit { from, port }),
        2 => (0..2 * STEP).prop_map(Act::Wait),
        1 => Just(Act::Restart),
        1 => Just(Act::Reload),
    ];
    prop::collection::vec(act, 0..40)
}

/// The sequences of a secret, of ports up to `high`: of few ports many steps have the same. Those of a code are
/// behind the ports 1 and 2.
fn totp(high: u16, is_code: bool) -> Totp {
    let step = |port| Step {
        port,
        transport: Transport::Tcp,
    };
    let keys = TotpKeys {
        secret: Secret::new(b"12345678901234567890".to_vec()).unwrap(),
        knocks: KNOCKS,
        ports: (if is_code { 3 } else { 1 }, high),
        transport: Transport::Tcp,
        step: u32::try_from(STEP).unwrap(),
        skew: SKEW,
        beginning: is_code.then(|| [1, 2].map(step).into()),
    };
    Totp::new(keys).unwrap()
}

fn list(lines: Vec<Line>, ahead: usize) -> Origin {
    Origin::List(List {
        file: Arc::from(Path::new("/list")),
        lines: lines.into(),
        ahead,
    })
}

/// One that was opened or might have been: a sequence that is used up.
#[derive(Debug)]
struct Spent {
    used: Used,
    /// The last hits of who knocked, with the Unix time of each in seconds.
    hits: Vec<(i64, u16)>,
    /// Whether it opened the door or ran its command.
    opened: bool,
}

/// A door, and what has become of it.
struct Run {
    origin: Origin,
    /// Whether the door is one that stays open.
    holds: bool,
    engine: Engine,
    now: i64,
    hits: Vec<(u8, i64, u16)>,
    spent: Vec<Spent>,
}

impl Run {
    fn new(origin: Origin, holds: bool) -> Self {
        let doors = doors(&origin, holds);
        Self {
            engine: Engine::new(doors, Duration::ZERO, Limits::default()),
            origin,
            holds,
            now: 1_700_000_000,
            hits: Vec::new(),
            spent: Vec::new(),
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Sequence { from, which } => {
                for port in self.ports(which) {
                    self.hit(from, port);
                }
            }
            Act::Hit { from, port } => self.hit(from, port),
            Act::Wait(seconds) => self.wait(seconds),
            Act::Restart => self.restart(),
            Act::Reload => self
                .engine
                .detection
                .attempts
                .replace_doors(doors(&self.origin, self.holds)),
        }
    }

    /// The ports of a sequence: that of so many steps later, or at this place of the list.
    fn ports(&self, which: i64) -> Vec<u16> {
        let sequence = match &self.origin {
            Origin::Totp(totp) => totp
                .number_at(self.now + which * STEP)
                .and_then(|number| totp.sequence(number)),
            Origin::List(list) => {
                let line = list.lines.get(usize::try_from(which).unwrap());
                line.map(|line| line.sequence.clone())
            }
        };
        let steps = sequence.iter().flat_map(Sequence::steps);
        steps.map(|step| step.port).collect()
    }

    fn hit(&mut self, from: u8, port: u16) {
        self.wait(PAUSE);
        self.hits.push((from, self.now, port));
        let at = Time::from_secs(self.now);
        let knock = Knock {
            after: 0,
            from,
            port,
            udp: false,
        };
        let sighting = sighting(self.hits.len(), &knock, at);
        self.engine.handle_packet(at, &sighting).unwrap();
        self.settle(Some(from));
    }

    fn wait(&mut self, seconds: i64) {
        self.now += seconds;
        let now = Time::from_secs(self.now);
        self.engine.detection.handle_unix(now, now);
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= now) {
            self.engine.handle_timeout(due);
            self.settle(None);
        }
    }

    fn settle(&mut self, from: Option<u8>) {
        let now = Time::from_secs(self.now);
        let (mut opened, mut marked) = (false, None);
        self.engine.settle(now, &mut |_, order| {
            opened |= matches!(order.task, Task::Open(_) | Task::Run(_));
            marked = order.mark.clone().or(marked.take());
        });
        let until = self.engine.grants.used().map(|(_, until)| until).max();
        let until = until.filter(|until| Some(*until) > self.until());
        let used = marked
            .map(|mark| Used::Line(mark.number))
            .or(until.map(Used::Until));
        assert!(used.is_some() || !opened, "opened, and nothing is used up");
        if let Some(used) = used {
            let theirs = self.hits.iter().filter(|(who, ..)| Some(*who) == from);
            self.spent.push(Spent {
                used,
                hits: theirs.map(|&(_, at, port)| (at, port)).collect(),
                opened,
            });
        }
    }

    /// Before which Unix time everything is used, as far as has been seen.
    fn until(&self) -> Option<i64> {
        let until = self.spent.iter().filter_map(|spent| match spent.used {
            Used::Until(until) => Some(until),
            Used::Line(_) => None,
        });
        until.max()
    }

    /// What was on disk comes back: a Unix time, or the lines that are not marked.
    fn restart(&mut self) {
        if let Origin::List(old) = &self.origin {
            let last = self.last_line();
            let marked: Vec<_> = old
                .lines
                .iter()
                .filter(|line| line.number <= last)
                .collect();
            let is_left = |line: &&Line| marked.iter().all(|other| other.sequence != line.sequence);
            let left = old.lines.iter().filter(is_left).cloned().collect();
            self.origin = list(left, old.ahead);
        }
        let doors = doors(&self.origin, self.holds);
        self.engine = Engine::new(doors, Duration::ZERO, Limits::default());
        if let Some(until) = self.until() {
            self.engine
                .detection
                .attempts
                .restore_used("door".into(), until);
            self.engine.grants.restore_used("door".into(), until);
        }
        self.wait(0);
    }

    fn last_line(&self) -> u32 {
        let lines = self.spent.iter().map(|spent| number_of(&spent.used));
        lines.max().unwrap_or(0)
    }
}

fn number_of(used: &Used) -> u32 {
    match used {
        Used::Line(number) => *number,
        Used::Until(_) => 0,
    }
}

fn doors(origin: &Origin, holds: bool) -> Vec<Arc<Door>> {
    let rule = OneTimeRule {
        origin: origin.clone(),
        pace: example::PACE,
    };
    let plain = example::door(&[1]);
    let command = || example::command(&["true", "%IP%"]);
    let close = if holds {
        command()
    } else {
        PerFamily::default()
    };
    vec![Arc::new(Door {
        name: "door".into(),
        rule: Rule::OneTime(rule),
        grant: GrantRule {
            hold: Duration::from_secs(7),
            open: command(),
            close,
            ..plain.grant
        },
        ..plain
    })]
}

fn ports_of(sequence: &Sequence) -> Vec<u16> {
    sequence.steps().iter().map(|step| step.port).collect()
}

/// Whether `hits` are a knock of `sequence`: between two of its steps only steps stand that it has made
/// already, as a repeat changes nothing.
fn are(hits: &[(i64, u16)], sequence: &[u16]) -> bool {
    let mut made = 0;
    hits.iter().all(|(_, port)| {
        let is_next = sequence.get(made) == Some(port);
        made += usize::from(is_next);
        is_next || (made < sequence.len() && sequence[..made].contains(port))
    }) && made == sequence.len()
}

/// When the knocks of `sequence` may have begun that `hits` end with; those of a code at its own first one.
fn begins<'a>(
    hits: &'a [(i64, u16)],
    sequence: &'a [u16],
    is_code: bool,
) -> impl Iterator<Item = i64> + 'a {
    let places = (0..hits.len()).filter(move |&place| are(&hits[place..], sequence));
    places.filter_map(move |place| {
        let mut knocks = hits[place..].iter();
        let first = knocks.find(|(_, port)| !is_code || ![1, 2].contains(port));
        first.map(|&(at, _)| at)
    })
}

proptest! {
    #[test]
    fn a_step_of_time_is_used_once_and_only_by_its_own_ports_within_the_skew(
        acts in acts(-3, 3), few in any::<bool>(), is_code in any::<bool>(), holds in any::<bool>(),
    ) {
        let totp = totp(if few { 3 + 2 * u16::from(is_code) } else { 9_999 }, is_code);
        let mut run = Run::new(Origin::Totp(totp.clone()), holds);
        for act in &acts { run.act(act); }
        let mut before = 0;
        for Spent { used, hits, opened } in &run.spent {
            let Used::Until(until) = *used else { panic!("{used:?}") };
            prop_assert!(until > before, "used twice, or a later one before it");
            before = until;
            if until > 1_700_000_000 + REFUSAL {
                prop_assert!(is_code && !opened, "only too many failures use up the time to come");
                break;
            }
            let number = totp.number_at(until - 1).unwrap();
            let sequence = ports_of(&totp.sequence(number).unwrap());
            let mut begun = begins(hits, &sequence, is_code).map(|at| totp.number_at(at).unwrap());
            let is_now = |begun: u64| begun.abs_diff(number) <= u64::from(SKEW);
            prop_assert!(begun.any(is_now), "{hits:?} {number}");
        }
    }

    #[test]
    fn a_step_that_is_not_used_and_within_the_skew_opens(
        acts in acts(-3, 3), is_code in any::<bool>(), which in -3..=3_i64,
    ) {
        let totp = totp(9_999, is_code);
        let mut run = Run::new(Origin::Totp(totp.clone()), false);
        for act in &acts { run.act(act); }
        let until = run.spent.iter().map(|spent| match spent.used {
            Used::Until(until) => until,
            Used::Line(_) => 0,
        });
        let used = until.max().unwrap_or(0);
        let opened = |run: &Run| run.spent.iter().filter(|spent| spent.opened).count();
        let before = opened(&run);
        // The first knock comes a little later, in a step that may be the next one.
        let number = totp.number_at(run.now + which * STEP).unwrap();
        let first = if is_code { 3 * PAUSE } else { PAUSE };
        let begun = totp.number_at(run.now + first).unwrap();
        run.act(&Act::Sequence { from: 9, which });
        let may = begun.abs_diff(number) <= u64::from(SKEW) && totp.begin_of(number) >= used;
        prop_assert_eq!(opened(&run) - before, usize::from(may));
    }

    #[test]
    fn a_line_of_a_list_is_used_once_and_only_when_it_is_among_the_next_ones(
        lines in prop::collection::vec(prop::collection::vec(1..4_u16, 1..4), 1..12),
        ahead in 1..4_usize,
        acts in acts(0, 11),
        holds in any::<bool>(),
    ) {
        let lines: Vec<_> = (1..).zip(&lines).map(|(number, ports)| line(number, ports)).collect();
        let mut run = Run::new(list(lines.clone(), ahead), holds);
        for act in &acts { run.act(act); }
        let mut gone: Vec<Line> = Vec::new();
        let mut before = 0;
        for Spent { used, hits, .. } in &run.spent {
            let number = number_of(used);
            prop_assert!(number > before, "used twice, or a later one before it");
            let left = lines.iter().filter(|line| line.number > before);
            let left = left.filter(|line| gone.iter().all(|gone| gone.sequence != line.sequence));
            let next: Vec<_> = left.take(ahead).collect();
            let line = next.iter().find(|line| line.number == number);
            prop_assert!(line.is_some(), "line {number} is none of the next {ahead}");
            let expected = ports_of(&line.unwrap().sequence);
            prop_assert!(begins(hits, &expected, false).next().is_some(), "{hits:?} {expected:?}");
            gone.extend(lines.iter().filter(|line| line.number <= number).cloned());
            before = number;
        }
    }
}

#[test]
fn a_repeat_for_one_line_opens_where_it_completes_another() {
    let lines = [line(1, &[1, 2, 2]), line(2, &[2, 1])];
    let mut run = Run::new(list(lines.to_vec(), 2), false);
    for port in [1, 2, 1] {
        run.act(&Act::Hit { from: 1, port });
    }
    let numbers = run.spent.iter().map(|spent| number_of(&spent.used));
    assert_eq!(numbers.collect::<Vec<_>>(), [2]);
}
