//! Any bytes as doors and a schedule of packets, timeouts, ends of commands, reloads and stops.
//!
//! Whatever happens in whatever order: every grant is opened once, closed until that succeeds or is given
//! up, and then forgotten; no address has two open grants of one door; events and orders agree; and in
//! the end nothing is left.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use logknock::config::{self, Config};
use logknock::engine::Sighting;
use logknock::engine::attempts::Limits;
use logknock::engine::door::Door;
use logknock::engine::event::{EventKind, Whence};
use logknock::engine::grant::{Grant, GrantId, Grants, Order, Outcome, Phase, Task};
use logknock::engine::knock::Logged;
use logknock::engine::packet::{Fingerprint, Headers, Packet, Ports, Proto, TcpFlags};
use logknock::engine::sequence::{Step, Transport};
use logknock::engine::time::Time;

// Of the program that runs this target.
use crate::chained::Engine;

/// A door and an address.
type Key = (Arc<str>, IpAddr);

pub(crate) fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    // Doors that can never open are refused.
    let Ok(Config { doors, .. }) = config::parse("logknock.toml", &config(&mut bytes)) else {
        return;
    };
    let lateness = Duration::from_millis(u64::from(bytes.below(3)) * 500);
    let limits = Limits {
        knockers: 1 + usize::from(bytes.below(4)),
        memories: 4 + usize::from(bytes.below(16)),
        packets: 64,
    };
    let mut stage = Stage {
        engine: Engine::new(doors.clone(), lateness, limits),
        now: Time::from_secs(1_000),
        lines: 0,
        world: World::default(),
    };
    while let Some(what) = bytes.next() {
        stage.act(what, &mut bytes, &doors);
        stage.observe();
    }
    stage.end();
}

/// The input, a decision at a time; zeros after its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.next().unwrap_or(0) % limit
    }

    fn seconds(&mut self, limit: u8) -> u64 {
        1 + u64::from(self.below(limit))
    }
}

/// A config of up to three doors, as users write them.
fn config(bytes: &mut Bytes<'_>) -> String {
    let mut config = String::new();
    for number in 0..=bytes.below(3) {
        let steps = (0..=bytes.below(4)).map(|_| {
            let Step { port, transport } = step(bytes);
            format!("\"{port}:{}\"", transport.as_str())
        });
        let steps = steps.collect::<Vec<_>>().join(", ");
        let kind = bytes.below(64);
        let mut key = |condition, line: &str| {
            if condition {
                config.push_str(line);
                config.push('\n');
            }
        };
        key(true, &format!("[door.door{number}]\nsequence = [{steps}]"));
        key(true, &format!("seq_timeout = {}", bytes.seconds(8)));
        key(true, &format!("cmd_timeout = {}", bytes.seconds(8)));
        key(
            kind & 0b1 > 0,
            &format!("knock_timeout = {}", bytes.seconds(4)),
        );
        key(kind & 0b10 > 0, "min_gap = 0.3");
        key(kind & 0b100 > 0, "strict = false");
        key(kind & 0b1000 > 0, "on_repeat = \"reopen\"");
        key(kind & 0b1_1000 == 0b1_0000, "on_repeat = \"ignore\"");
        key(true, "start_command = \"/bin/open %IP%\"");
        key(kind & 0b10_0000 == 0, "stop_command = \"/bin/close %IP%\"");
    }
    config
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    let what = bytes.below(6);
    Step {
        port: 1 + u16::from(what % 3),
        transport: if what == 5 {
            Transport::Udp
        } else {
            Transport::Tcp
        },
    }
}

struct Stage {
    engine: Engine,
    now: Time,
    lines: u64,
    world: World,
}

impl Stage {
    fn act(&mut self, what: u8, bytes: &mut Bytes<'_>, doors: &[Arc<Door>]) {
        match what {
            0..150 => self.packet(bytes),
            150..180 => {
                self.now = self.now.after(Duration::from_secs(bytes.seconds(6)));
                self.engine.handle_timeout(self.now);
            }
            180..235 => self.finish(bytes),
            235..240 => self.engine.detection.attempts.forget_all(),
            240..248 => {
                let kept = usize::from(bytes.below(4));
                self.engine
                    .detection
                    .attempts
                    .replace_doors(doors.iter().take(kept).cloned().collect());
            }
            // A clock that jumps back changes nothing.
            248..252 => self
                .engine
                .handle_timeout(self.now.before(Duration::from_secs(9))),
            252.. => drop(self.engine.close_all(self.now, None)),
        }
    }

    fn packet(&mut self, bytes: &mut Bytes<'_>) {
        let pause = u64::from(bytes.below(16)) * 250;
        self.now = self.now.after(Duration::from_millis(pause));
        let late = Duration::from_millis(u64::from(bytes.below(3)) * 400);
        let knocked = step(bytes);
        self.lines += 1;
        let packet = Packet {
            prefix: b"",
            iif: b"eth0",
            oif: b"",
            headers: Headers {
                src: Ipv4Addr::new(192, 0, 2, 1 + bytes.below(3)).into(),
                dst: Ipv4Addr::new(198, 51, 100, 1).into(),
                proto: match knocked.transport {
                    Transport::Tcp => Proto::Tcp,
                    Transport::Udp => Proto::Udp,
                },
                ports: Some(Ports {
                    src: 1024 + u16::from(bytes.below(200)),
                    dst: knocked.port,
                }),
                flags: match knocked.transport {
                    Transport::Tcp => TcpFlags::SYN,
                    Transport::Udp => TcpFlags::NONE,
                },
                mark: Fingerprint::default(),
            },
        };
        let sighting = Sighting {
            packet,
            at: self.now.before(late),
            uptime: None,
            logged: Logged::default(),
            whence: Whence {
                source: 0,
                line: self.lines,
            },
        };
        // Whether it counts is the engine's to say.
        let _ = self.engine.handle_packet(self.now, &sighting);
    }

    /// Ends the command that one of the addresses waits for, well or badly.
    fn finish(&mut self, bytes: &mut Bytes<'_>) {
        let outcome = match bytes.below(8) {
            6 => Outcome::NotRun,
            3 | 7 => Outcome::Failed,
            _ => Outcome::Done,
        };
        let place = usize::from(bytes.below(8));
        self.end_command(place, outcome);
    }

    /// Whether there was one.
    fn end_command(&mut self, place: usize, outcome: Outcome) -> bool {
        let order = self.world.end_command(place);
        if let Some(order) = &order {
            self.engine.handle_finished(self.now, order, outcome);
        }
        order.is_some()
    }

    fn observe(&mut self) {
        self.engine.handle_timeout(self.now);
        let events: Vec<_> = std::iter::from_fn(|| self.engine.poll_event()).collect();
        for event in events {
            self.world.event((event.door, event.src), event.kind);
        }
        while let Some(order) = self.engine.poll_order() {
            self.world.order(order, &self.engine.grants);
        }
        self.engine.handle_timeout(self.now);
        assert!(self.engine.poll_event().is_none(), "done, and done again");
        assert!(self.engine.poll_order().is_none(), "done, and done again");
        self.world.agree_with(&self.engine.grants);
        let due = self.engine.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "due, and not done");
    }

    /// Stops, with every command succeeding; nothing is opened any more, and nothing stays open.
    fn end(mut self) {
        self.engine.handle_timeout(self.now);
        self.observe();
        self.engine.close_all(self.now, None);
        let opened = self.world.opened;
        loop {
            self.observe();
            assert_eq!(self.world.opened, opened, "opened while stopping");
            if self.end_command(0, Outcome::Done) {
                continue;
            }
            let Some(due) = self.engine.poll_timeout() else {
                break;
            };
            self.now = due;
            self.engine.handle_timeout(due);
        }
        // What is only to be forgotten is no reason to wake up.
        let later = self.now.after(Duration::from_secs(3600));
        self.engine.handle_timeout(later);
        let left = (
            self.engine.grants.len(),
            self.engine.detection.attempts.len(),
        );
        assert_eq!(left, (0, 0));
        assert!(
            self.world.told_open.is_empty(),
            "{:?}",
            self.world.told_open
        );
    }
}

/// What the world outside has been told and has been asked to do.
#[derive(Default)]
struct World {
    /// What each address waits for, in its order.
    waiting: BTreeMap<IpAddr, VecDeque<Order>>,
    /// Open, as events told it.
    told_open: HashSet<Key>,
    /// Opens told of each that were neither a grant's nor a run's so far.
    unanswered: HashMap<Key, u64>,
    /// Grants opened, ever.
    opened: u64,
    last: u64,
}

impl World {
    fn event(&mut self, key: Key, kind: EventKind) {
        match kind {
            EventKind::Open => *self.unanswered.entry(key).or_default() += 1,
            EventKind::Close => assert!(self.told_open.remove(&key), "closed, not open: {key:?}"),
            EventKind::Refresh => assert!(self.told_open.contains(&key), "not open: {key:?}"),
            _ => {}
        }
    }

    fn take_unanswered(&mut self, key: &Key) -> bool {
        let count = self.unanswered.get_mut(key).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    }

    fn order(&mut self, order: Order, grants: &Grants) {
        match &order.task {
            Task::Open(id) => {
                let grant = grants.get(*id).expect("a grant that begins");
                let key = key_of(grant);
                assert!(id.0 > self.last, "a number again");
                assert!(self.take_unanswered(&key), "opened, but not told: {key:?}");
                assert!(self.told_open.insert(key), "a second open grant: {order:?}");
                (self.last, self.opened) = (id.0, self.opened + 1);
            }
            Task::Run(door) => {
                let key = (Arc::clone(door), order.src);
                assert!(self.take_unanswered(&key), "run, but not told: {key:?}");
            }
            Task::Mark(_) => panic!("no door of this target has sequences that open once"),
            Task::Close(id) => {
                assert!(grants.get(*id).is_some(), "closed after its end");
                assert!(!self.is_waiting(&order.task), "closed twice");
            }
        }
        self.waiting.entry(order.src).or_default().push_back(order);
    }

    fn is_waiting(&self, task: &Task) -> bool {
        let mut all = self.waiting.values().flatten();
        all.any(|order| order.task == *task)
    }

    /// What is open is what was told, and nothing that is being closed waits for ever.
    fn agree_with(&self, grants: &Grants) {
        let is_open = |id: GrantId| {
            grants
                .get(id)
                .is_some_and(|grant| grant.phase == Phase::Open)
        };
        let open = grants.iter().filter(|(id, _)| is_open(*id));
        let open: HashSet<_> = open.map(|(_, grant)| key_of(grant)).collect();
        assert_eq!(open, self.told_open);
        for (id, grant) in grants.iter() {
            match grant.phase {
                Phase::Open => assert!(grant.timer().is_some(), "never closed: {grant:?}"),
                Phase::Closing => assert!(self.is_waiting(&Task::Close(id)), "{grant:?}"),
                Phase::Owed => {
                    // A newer one of the pair has to end first.
                    let key = key_of(grant);
                    let is_newer =
                        |(other, grant): (GrantId, &Grant)| other > id && key_of(grant) == key;
                    let waits = grants.iter().any(is_newer);
                    assert!(grant.timer().is_some() || waits, "never closed: {grant:?}");
                }
            }
        }
    }

    /// Ends the next command of the address at `place`, if it waits for one.
    fn end_command(&mut self, place: usize) -> Option<Order> {
        let mut busy = self
            .waiting
            .values_mut()
            .filter(|orders| !orders.is_empty());
        busy.nth(place)?.pop_front()
    }
}

fn key_of(grant: &Grant) -> Key {
    (Arc::clone(&grant.door), grant.src)
}
