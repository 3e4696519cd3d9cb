//! Doors with `counts` against a model of Open Sesamy's own rules, on random patterns.

use std::net::Ipv4Addr;

use super::super::attempt::Progress;
use super::super::door::CountsRule;
use super::super::example;
use super::super::knock::Logged;
use super::super::packet::{Fingerprint, Ports, TcpFlags};
use super::super::sequence::{Step, Transport};
use super::*;

/// What Open Sesamy gives to the kernel, for one address: a list of stamps, and rules that count them.
struct Script {
    counts: [u8; 4],
    window: Duration,
    list: Vec<Time>,
}

impl Script {
    fn sum(&self) -> usize {
        self.counts.iter().map(|count| usize::from(*count)).sum()
    }

    /// `--rcheck --seconds` of this many windows: how many stamps match.
    fn within(&self, windows: u32, at: Time) -> usize {
        let stamps = self.list.iter();
        stamps
            .filter(|stamp| at.since(**stamp) <= self.window * windows)
            .count()
    }

    /// A TCP SYN to the secured port: whether it is let in, or `None` where it is passed on.
    fn connect(&mut self, at: Time) -> Option<bool> {
        if self.within(4, at) < self.sum() {
            return None;
        }
        let [_, second, third, fourth] = self.counts.map(usize::from);
        let is_right = self.within(1, at) == fourth
            && self.within(2, at) == third + fourth
            && self.within(3, at) == second + third + fourth;
        self.list.clear();
        Some(is_right)
    }

    /// A packet to the knock port.
    fn hit(&mut self, at: Time) {
        if self.within(4, at) > self.sum() || self.list.len() > 2 * self.sum() {
            self.list.clear();
        } else {
            self.list.push(at);
        }
    }
}

/// Chance that a seed repeats (splitmix64, by Steele, Lea and Flood).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// One packet: how many milliseconds after the beginning, and to which port.
type Act = (u64, Step);

const WINDOW: Duration = Duration::from_secs(1);

const fn step(port: u16, transport: Transport) -> Step {
    Step { port, transport }
}

/// Packets of a client that knows the counts, of one who does not, and of one who is off by a little.
fn pattern(counts: [u8; 4], knock: u16, secured: Step, dice: &mut Dice) -> Vec<Act> {
    let mut groups = counts;
    let place = usize::try_from(dice.below(4)).unwrap();
    match dice.below(12) {
        0 => groups[place] += 1,
        1 => groups[place] -= 1,
        2 => groups = groups.map(|_| u8::try_from(dice.below(10)).unwrap()),
        3 => groups.rotate_left(place),
        _ => {}
    }
    let transport = |dice: &mut Dice| match dice.below(3) {
        0 => Transport::Tcp,
        _ => Transport::Udp,
    };
    // At the secured port each TCP hit is a connection too.
    let hits = |dice: &mut Dice| {
        if secured.port == knock && dice.below(2) == 0 {
            step(knock, Transport::Udp)
        } else {
            step(knock, transport(dice))
        }
    };
    let (stride, burst) = match dice.below(4) {
        0 => (1000, 900),
        1 => (1000, 1),
        _ => (1220, 150),
    };
    let mut acts = Vec::new();
    for (count, number) in groups.into_iter().zip(0..) {
        for _ in 0..count {
            acts.push((number * stride + dice.below(burst), hits(dice)));
        }
    }
    let end = acts.iter().map(|(at, _)| *at).max().unwrap_or(0);
    for _ in 0..dice.below(4) {
        acts.push((end + dice.below(1200), secured));
    }
    if dice.below(4) == 0 {
        acts.push((dice.below(end + 500), hits(dice)));
    }
    if dice.below(6) == 0 {
        acts.push((dice.below(end + 500), step(9, Transport::Tcp)));
    }
    acts
}

fn hit(at: Time, from: u16, step: Step) -> Hit<'static> {
    Hit {
        at,
        uptime: None,
        src: Ipv4Addr::new(192, 0, 2, 7).into(),
        dst: Ipv4Addr::new(198, 51, 100, 1).into(),
        ports: Ports {
            src: from,
            dst: step.port,
        },
        step,
        flags: match step.transport {
            Transport::Tcp => TcpFlags::SYN,
            Transport::Udp => TcpFlags::NONE,
        },
        interface: b"eth0",
        mark: Fingerprint::default(),
        source: 0,
        rule: 0,
        logged: Logged::default(),
    }
}

/// Plays `acts` at both; `true` for each connection that was let in, if they agree.
fn play(counts: [u8; 4], knock: u16, secured: Step, acts: &[Act], number: u32) -> Vec<bool> {
    let mut door = example::door(&[1]);
    door.rule = Rule::Counts(CountsRule::new((knock, None), WINDOW, &counts).unwrap());
    door.grant.opens = [secured].into();
    let door = Arc::new(door);
    let mut table = AttemptTable::new(vec![door], Duration::from_secs(1), Limits::default());
    let mut script = Script {
        counts,
        window: WINDOW,
        list: Vec::new(),
    };
    let start = Time::from_secs(1000);
    let (mut open_until, mut entered) = (None, Vec::new());
    for (&(millis, step), port) in acts.iter().zip(1024_u16..) {
        let at = start.after(Duration::from_millis(millis));
        let note = |open_until: &mut Option<Time>, detected: Detected| match detected.progress {
            Progress::Completed { until, .. } => {
                assert!(detected.knock.is_some());
                *open_until = until;
            }
            Progress::Overcount => *open_until = None,
            _ => {}
        };
        while let Some(due) = table.poll_timeout().filter(|due| *due < at) {
            let due = due.after(Duration::from_nanos(1));
            table.handle_timeout(due, &mut |detected| note(&mut open_until, detected));
        }
        let is_open = open_until.is_some_and(|until| at < until);
        let passed_on = if step == secured {
            let let_in = script.connect(at);
            assert_eq!(
                let_in == Some(true),
                is_open,
                "{counts:?}, pattern {number}: {acts:?} at {millis}"
            );
            entered.extend(let_in);
            if let_in.is_some() {
                open_until = None;
            }
            let_in.is_none()
        } else {
            true
        };
        if passed_on && step.port == knock {
            script.hit(at);
        }
        let hit = hit(at, port, step);
        table
            .handle_hit(&hit, &mut |detected| note(&mut open_until, detected))
            .unwrap();
    }
    entered
}

#[expect(clippy::disallowed_methods, reason = "how long the tests may take")]
fn is_long() -> bool {
    std::env::var_os("LOGKNOCK_LONG").is_some()
}

#[test]
fn counts_let_in_whom_open_sesamys_own_rules_let_in() {
    let mut dice = Dice(0x05e5_a3e1);
    let (mut opened, mut refused) = (0, 0);
    let rounds = if is_long() { 100_000 } else { 10_000 };
    for number in 0..rounds {
        let counts = std::array::from_fn(|_| u8::try_from(dice.below(9) + 1).unwrap());
        let secured = match dice.below(3) {
            0 => step(443, Transport::Tcp),
            _ => step(22, Transport::Tcp),
        };
        let (mut acts, mut begin) = (Vec::new(), 0);
        for _ in 0..=dice.below(3) {
            let more = pattern(counts, 443, secured, &mut dice);
            acts.extend(more.into_iter().map(|(at, step)| (begin + at, step)));
            begin += 3000 + dice.below(4000);
        }
        acts.sort_by_key(|(at, _)| *at);
        for let_in in play(counts, 443, secured, &acts, number) {
            *(if let_in { &mut opened } else { &mut refused }) += 1;
        }
    }
    let least = rounds / 5;
    assert!(opened > least && refused > least, "{opened} {refused}");
}

/// Every pattern of four digits once, each a digit further than the one before, with the first three once more at its
/// end. It is a de Bruijn sequence (algorithm of Fredricksen, Kessler and Maiorana).
fn de_bruijn() -> Vec<u8> {
    fn extend(place: usize, period: usize, word: &mut [u8; 5], walk: &mut Vec<u8>) {
        if place > 4 {
            if 4 % period == 0 {
                walk.extend(&word[1..=period]);
            }
            return;
        }
        word[place] = word[place - period];
        extend(place + 1, period, word, walk);
        for digit in word[place - period] + 1..=9 {
            word[place] = digit;
            extend(place + 1, place, word, walk);
        }
    }
    let mut walk = Vec::new();
    extend(1, 1, &mut [1; 5], &mut walk);
    walk.extend_from_within(..3);
    walk
}

/// Of a walk of two hours a door with a lockout hears ten guesses. One that opened to a walk as often as
/// `guesses` says may open to one of these by luck.
#[test]
fn a_walk_through_all_patterns_is_cut_to_ten_guesses_where_failures_lock_out() {
    use super::super::door::{Limits as DoorLimits, Lockout};
    let walk = de_bruijn();
    let patterns: std::collections::HashSet<_> = walk.windows(4).collect();
    assert_eq!((walk.len(), patterns.len()), (6561 + 3, 6561));
    let lockout = Lockout {
        fails: 5,
        within: Duration::from_secs(600),
        time: Duration::from_secs(3600),
    };
    let mut dice = Dice(7);
    let mut guesses = 0.0;
    let pairs = (0..6).flat_map(|number| {
        let counts: [u8; 4] = std::array::from_fn(|_| u8::try_from(dice.below(9) + 1).unwrap());
        let rule = Rule::Counts(CountsRule::new((443, None), WINDOW, &counts).unwrap());
        guesses += rule.guesses() / 6.0;
        [("bare", None), ("guarded", Some(lockout))].map(|(name, lockout)| {
            let mut door = example::door(&[1]);
            door.name = format!("{name}{number}").into();
            door.rule = rule.clone();
            door.limits = DoorLimits {
                lockout,
                cooldown: None,
            };
            Arc::new(door)
        })
    });
    let doors = pairs.collect();
    let mut table = AttemptTable::new(doors, Duration::ZERO, Limits::default());
    let (mut opened, mut failures, mut locked) = ([0_u32; 2], [0_u32; 2], 0);
    let mut note = |detected: Detected| {
        let which = usize::from(detected.door.name.starts_with("guarded"));
        match detected.progress {
            Progress::Completed { .. } => opened[which] += 1,
            Progress::Reset { failed: true, .. } => failures[which] += 1,
            Progress::LockedOut { .. } => locked += 1,
            _ => {}
        }
    };
    // A little longer than a window, so that each group is in one of its own.
    let slot = Duration::from_millis(1050);
    for (group, number) in walk.into_iter().zip(0..) {
        let mut at = Time::from_secs(1000).after(slot * number);
        table.handle_timeout(at, &mut note);
        for from in 1..=group {
            let hit = hit(at, from.into(), step(443, Transport::Udp));
            table.handle_hit(&hit, &mut note).unwrap();
            at = at.after(Duration::from_millis(4));
        }
    }
    assert_eq!((failures[1], locked), (6 * 10, 6 * 2));
    let measured = f64::from(failures[0]) / f64::from(opened[0]);
    assert!(measured > guesses, "{measured} {guesses}");
    assert!(opened[1] * 20 < opened[0], "{opened:?}");
}
