//! The table of addresses against a plain one that searches all of itself, on random hits.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::door::{CountsRule, Lockout, OtherPorts, Rule, SequenceRule};
use super::super::example;
use super::super::knock::Logged;
use super::super::knockers::Knocker;
use super::super::packet::{Fingerprint, Ports, TcpFlags};
use super::super::sequence::{Sequence, Step, Transport};
use super::*;

/// The same detector without an index, a queue or a short cut.
struct Plain {
    doors: Vec<Arc<Door>>,
    limits: Limits,
    lateness: Duration,
    identity: Identity,
    lately: Lately,
    table: HashMap<IpAddr, (Knocker, Rank)>,
    age: u64,
    over: Time,
    silences: Silences,
    book: Book,
}

/// Stage, and since when.
type Rank = (usize, u64);

impl Plain {
    fn handle_hit(&mut self, hit: &Hit<'_>, told: &mut Vec<Detected>) -> Result<(), Reason> {
        let sighting = self.identity.sighting(hit);
        let (mut knocker, rank) = self.table.remove(&hit.src).unwrap_or_default();
        if knocker.sightings.have(&sighting) || self.lately.have(&sighting) {
            if rank.0 > 0 {
                self.table.insert(hit.src, (knocker, rank));
            }
            return Err(Reason::Duplicate);
        }
        knocker.sightings.remember(sighting);
        let at = hit.at.max(knocker.latest);
        knocker.latest = at;
        for (number, door) in self.doors.iter().enumerate() {
            if !door.scope.admits(hit) || self.silences.covers(hit.src, &door.name, at) {
                continue;
            }
            let silences = &mut self.silences;
            let mut locked_out = false;
            let attempt = knocker.attempt(number);
            let mut ground = Ground {
                door: &door.name,
                book: &mut self.book,
                unix: None,
            };
            attempt.hit(&door.rule, &mut ground, hit.step, at, &mut |progress| {
                told.push(detected(hit.src, door, progress));
                locked_out |= silences.note(hit.src, door, progress, at);
            });
            if locked_out {
                attempt.forget();
                told.push(detected(hit.src, door, Progress::LockedOut { at }));
            }
        }
        knocker.attempts.retain(|(_, attempt)| attempt.stage() > 0);
        self.age += 1;
        let rank = (stage(&knocker), self.age);
        if rank.0 > 0 {
            self.table.insert(hit.src, (knocker, rank));
        } else {
            let seen = knocker.sightings.iter();
            seen.for_each(|&seen| self.lately.remember(seen));
        }
        while self.table.len() > self.limits.knockers || self.memories() > self.limits.memories {
            let least = self.table.iter().min_by_key(|(_, (_, rank))| *rank);
            let src = *least.unwrap().0;
            let (knocker, _) = self.table.remove(&src).unwrap();
            for (number, attempt) in knocker.attempts {
                let progress = Progress::Reset {
                    stage: attempt.stage(),
                    reason: ResetReason::Evicted,
                    at,
                };
                told.push(detected(src, &self.doors[number], progress));
            }
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time, told: &mut Vec<Detected>) {
        self.silences.expire(now);
        self.over = now.before(self.lateness);
        while let Some((_, src)) = self.next_wake().filter(|&(wake, _)| wake < now) {
            let (knocker, rank) = self.table.get_mut(&src).unwrap();
            for (number, attempt) in &mut knocker.attempts {
                let door = &self.doors[*number];
                let mut ground = Ground {
                    door: &door.name,
                    book: &mut self.book,
                    unix: None,
                };
                attempt.expire(&door.rule, &mut ground, self.over, &mut |progress| {
                    told.push(detected(src, door, progress));
                });
            }
            knocker.attempts.retain(|(_, attempt)| attempt.stage() > 0);
            if stage(knocker) == 0 {
                let seen = knocker.sightings.iter();
                seen.for_each(|&seen| self.lately.remember(seen));
                self.table.remove(&src);
            } else if stage(knocker) != rank.0 {
                self.age += 1;
                *rank = (stage(knocker), self.age);
            }
        }
    }

    fn next_wake(&self) -> Option<(Time, IpAddr)> {
        let wakes = self.table.iter().flat_map(|(src, (knocker, _))| {
            knocker.attempts.iter().map(|(number, attempt)| {
                let end = attempt.deadline(&self.doors[*number].rule).unwrap();
                (end.after(self.lateness), *src)
            })
        });
        wakes.min()
    }

    fn memories(&self) -> usize {
        let knockers = self.table.values().map(|(knocker, _)| knocker);
        let memories = knockers.map(|knocker| {
            let attempts = knocker.attempts.iter().map(|(_, attempt)| attempt.stage());
            knocker.sightings.len() + attempts.sum::<usize>()
        });
        memories.sum()
    }
}

fn stage(knocker: &Knocker) -> usize {
    let stages = knocker.attempts.iter().map(|(_, attempt)| attempt.stage());
    stages.max().unwrap_or(0)
}

fn detected(src: IpAddr, door: &Arc<Door>, progress: Progress) -> Detected {
    Detected {
        src,
        door: Arc::clone(door),
        progress,
    }
}

/// Milliseconds after the hit before, who, to which port, from which port, and over UDP.
type Knock = (u64, u8, u16, u16, bool);

fn hit(at: Time, &(_, from, port, spt, udp): &Knock) -> Hit<'static> {
    let transport = if udp { Transport::Udp } else { Transport::Tcp };
    Hit {
        at,
        uptime: None,
        src: Ipv4Addr::new(192, 0, 2, from).into(),
        dst: Ipv4Addr::new(198, 51, 100, 1).into(),
        ports: Ports {
            src: spt,
            dst: port,
        },
        step: Step { port, transport },
        flags: if udp { TcpFlags::NONE } else { TcpFlags::SYN },
        interface: b"eth0",
        mark: Fingerprint::default(),
        source: 0,
        logged: Logged::default(),
    }
}

fn door() -> impl Strategy<Value = Door> {
    let steps = prop::collection::vec((1..5_u16, prop::bool::weighted(0.1)), 1..5);
    let sequence = (
        steps,
        1..30_u64,
        prop::option::of(1..9_u64),
        prop::option::of(1..3_u64),
        prop::bool::ANY,
    );
    let sequence = sequence.prop_map(|(steps, window, gap, min_gap, strict)| {
        let step = |(port, udp)| Step {
            port,
            transport: if udp { Transport::Udp } else { Transport::Tcp },
        };
        Rule::Sequence(SequenceRule {
            sequence: Sequence::new(steps.into_iter().map(step).collect::<Vec<_>>()).unwrap(),
            window: Duration::from_secs(window),
            knock_timeout: gap.map(Duration::from_secs),
            min_gap: min_gap.map(Duration::from_secs),
            other_ports: if strict {
                OtherPorts::Reset
            } else {
                OtherPorts::Ignore
            },
        })
    });
    let counts = (1..5_u16, 1..5_u64, prop::collection::vec(1..4_u8, 1..4));
    let counts = counts.prop_map(|(port, window, groups)| {
        let window = Duration::from_secs(window);
        Rule::Counts(CountsRule::new((port, None), window, &groups).unwrap())
    });
    let rule = prop_oneof![3 => sequence, 1 => counts];
    let limits = (
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, 1..9_u64),
    );
    (rule, limits).prop_map(|(rule, (lockout, cooldown))| Door {
        rule,
        limits: super::super::door::Limits {
            lockout: lockout.then_some(Lockout {
                fails: 2,
                within: Duration::from_secs(20),
                time: Duration::from_secs(5),
            }),
            cooldown: cooldown.map(Duration::from_secs),
        },
        ..example::door(&[1])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_table_does_what_a_plain_one_does(
        doors in prop::collection::vec(door(), 1..4),
        knocks in prop::collection::vec(
            (prop_oneof![3 => 0..600_u64, 1 => 0..15_000_u64], 1..9_u8, 1..6_u16, 1..30_u16, prop::bool::weighted(0.2)),
            1..250,
        ),
        knockers in 1..9_usize,
        memories in 3..40_usize,
        packets in 1..100_usize,
        lateness in 0..2_u64,
    ) {
        let named = doors.into_iter().zip(0..).map(|(door, number)| {
            Arc::new(Door { name: format!("door{number}").into(), ..door })
        });
        let doors: Vec<_> = named.collect();
        let limits = Limits { knockers, memories, packets };
        let lateness = Duration::from_secs(lateness);
        let mut detector = Detector::new(doors.clone(), lateness, limits);
        let mut plain = Plain {
            doors,
            limits,
            lateness,
            identity: detector.identity.clone(),
            lately: Lately::new(packets),
            table: HashMap::new(),
            age: 0,
            over: Time::from_nanos(i64::MIN),
            book: Book::default(),
            silences: Silences::default(),
        };
        let mut now = Time::from_secs(1_000);
        for knock in &knocks {
            now = now.after(Duration::from_millis(knock.0));
            let (mut told, mut expected) = (Vec::new(), Vec::new());
            // Not every hit is preceded by the end of what is over.
            if knock.3 % 3 > 0 {
                detector.handle_timeout(now, &mut |detected| told.push(detected));
                plain.handle_timeout(now, &mut expected);
            }
            let hit = hit(now, knock);
            let verdict = detector.handle_hit(&hit, &mut |detected| told.push(detected));
            prop_assert_eq!(verdict, plain.handle_hit(&hit, &mut expected));
            prop_assert_eq!(told, expected);
            prop_assert_eq!(detector.len(), plain.table.len());
            prop_assert_eq!(detector.knockers.memories(), plain.memories());
            prop_assert_eq!(detector.poll_timeout(), plain.next_wake().map(|(wake, _)| wake));
        }
    }
}

#[test]
fn over_a_reload_an_attempt_goes_on_at_a_door_as_it_was_and_is_dropped_at_one_that_changed() {
    let door = |name: &str, ports: [u16; 2]| {
        Arc::new(Door {
            name: name.into(),
            rule: Rule::Sequence(SequenceRule {
                other_ports: OtherPorts::Ignore,
                ..example::rule(&ports)
            }),
            ..example::door(&ports)
        })
    };
    let before = vec![
        door("as it was", [1, 2]),
        door("renamed", [1, 2]),
        door("gone", [1, 2]),
    ];
    let after = vec![door("other", [1, 2]), door("as it was", [1, 2])];
    let mut detector = Detector::new(before, Duration::ZERO, Limits::default());
    let at = Time::from_secs(1000);
    let first = hit(at, &(0, 7, 1, 40_001, false));
    detector.handle_hit(&first, &mut |_| ()).unwrap();
    detector.replace_doors(after);
    let mut completed = Vec::new();
    let second = hit(at, &(0, 7, 2, 40_002, false));
    let told = detector.handle_hit(&second, &mut |detected| {
        if matches!(detected.progress, Progress::Completed { .. }) {
            completed.push(detected.door.name.to_string());
        }
    });
    assert_eq!((told, completed), (Ok(()), vec!["as it was".to_owned()]));
}
