//! The table of addresses against a plain one that searches all of itself, on random hits.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::door::{CountsRule, Lockout, OtherPorts, Pace, Rule, SequenceRule};
use super::super::example;
use super::super::knock::Logged;
use super::super::knockers::Knocker;
use super::super::packet::{Fingerprint, Ports, TcpFlags};
use super::super::sequence::{Sequence, Step, Transport};
use super::*;

/// The same table without an index, a queue or a short cut.
struct Plain {
    doors: Vec<Arc<Door>>,
    limits: Limits,
    lateness: Duration,
    identity: Identity,
    recent: RecentPackets,
    reach: Duration,
    /// For each kind of door.
    tables: [HashMap<IpAddr, (Knocker, Rank)>; 2],
    age: u64,
    lockouts: Lockouts,
    book: Book,
}

/// Stage, and since when.
type Rank = (usize, u64);

impl Plain {
    fn handle_hit(&mut self, hit: &Hit<'_>, told: &mut Vec<Detected>) -> Result<(), Reason> {
        let sighting = self.identity.sighting(hit);
        let own = self.tables.each_mut().map(|table| {
            let (knocker, _) = table.get_mut(&hit.src)?;
            knocker.packets.seen(&sighting, self.reach)
        });
        let own = own.into_iter().flatten().next();
        let age = own.or_else(|| self.recent.seen(&sighting, self.reach));
        let heard = Heard { hit, age };
        let (mut is_heard, mut is_kept) = (false, age.is_some());
        for kind in Kind::ALL {
            let is_known = self.tables[kind as usize].contains_key(&hit.src);
            let doors = self.doors.clone().into_iter().enumerate();
            let doors = doors.filter(|(_, door)| Kind::of(door) == kind);
            let doors: Vec<_> = doors.filter(|(_, door)| heard.is_new_to(door)).collect();
            let may_begin = |(_, door): &(_, Arc<Door>)| door.rule.may_begin_with(hit.step);
            if doors.is_empty() && age.is_some() || !is_known && !doors.iter().any(may_begin) {
                continue;
            }
            let (mut knocker, _) = self.tables[kind as usize]
                .remove(&hit.src)
                .unwrap_or_default();
            if !is_kept {
                knocker.packets.remember(sighting);
                is_kept = true;
            }
            let at = hit.at.max(knocker.latest);
            knocker.latest = at;
            for (number, door) in doors {
                if !door.rule.may_begin_with(hit.step) && !knocker.is_at(number)
                    || !door.scope.admits(hit)
                    || self.lockouts.covers(hit.src, &door.name, at)
                {
                    continue;
                }
                is_heard = true;
                let context = Context {
                    door: &door,
                    book: &mut self.book,
                    unix: None,
                };
                let whose = Whose {
                    src: hit.src,
                    who: hit.src,
                    hit: Some(hit),
                };
                let attempt = knocker.attempt(number, &door);
                whose.go_on(attempt, context, at, &mut self.lockouts, &mut |detected| {
                    told.push(detected);
                });
            }
            self.settle(kind, hit.src, knocker, None);
            self.evict(kind, at, told);
        }
        if age.is_none() {
            let kept = is_kept.then(|| sighting.blank());
            self.recent.remember(kept.unwrap_or(sighting));
        }
        match age {
            Some(_) if !is_heard => Err(Reason::Duplicate),
            _ => Ok(()),
        }
    }

    fn settle(&mut self, kind: Kind, src: IpAddr, mut knocker: Knocker, rank: Option<Rank>) {
        knocker
            .attempts
            .retain(|(_, attempt)| attempt.memories() > 0);
        if knocker.attempts.is_empty() {
            let seen = knocker.packets.iter();
            seen.for_each(|&seen| self.recent.remember(seen));
            return;
        }
        let rank = rank
            .filter(|rank| rank.0 == stage(&knocker))
            .unwrap_or_else(|| {
                self.age += 1;
                (stage(&knocker), self.age)
            });
        self.tables[kind as usize].insert(src, (knocker, rank));
    }

    fn evict(&mut self, kind: Kind, at: Time, told: &mut Vec<Detected>) {
        while self.tables[kind as usize].len() > self.limits.knockers
            || self.memories(kind) > self.limits.memories
        {
            let table = &mut self.tables[kind as usize];
            let least = table.iter().min_by_key(|(_, (_, rank))| *rank);
            let src = *least.unwrap().0;
            let (knocker, _) = table.remove(&src).unwrap();
            for (number, attempt) in knocker.attempts {
                let stage = attempt.stage();
                let progress = Progress::Reset {
                    stage,
                    reason: ResetReason::Evicted,
                    at,
                    failed: false,
                };
                if stage > 0 {
                    told.push(Detected {
                        src,
                        door: Arc::clone(&self.doors[number]),
                        progress,
                        knock: None,
                    });
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time, told: &mut Vec<Detected>) {
        self.lockouts.expire(now);
        for kind in Kind::ALL {
            let over = now.before(self.lateness_of(kind));
            while let Some((_, src)) = self.next_wake(kind).filter(|&(wake, _)| wake < now) {
                let (mut knocker, rank) = self.tables[kind as usize].remove(&src).unwrap();
                for (number, attempt) in &mut knocker.attempts {
                    let context = Context {
                        door: &self.doors[*number],
                        book: &mut self.book,
                        unix: None,
                    };
                    let whose = Whose {
                        src,
                        who: src,
                        hit: None,
                    };
                    whose.go_on(
                        attempt,
                        context,
                        over,
                        &mut self.lockouts,
                        &mut |detected| {
                            told.push(detected);
                        },
                    );
                }
                self.settle(kind, src, knocker, Some(rank));
            }
        }
    }

    fn lateness_of(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Ports => self.lateness,
            Kind::Counts => Duration::ZERO,
        }
    }

    fn next_wake(&self, kind: Kind) -> Option<(Time, IpAddr)> {
        let wakes = self.tables[kind as usize]
            .iter()
            .flat_map(|(src, (knocker, _))| {
                knocker.attempts.iter().filter_map(|(number, attempt)| {
                    let end = attempt.deadline(&self.doors[*number].rule)?;
                    Some((end.after(self.lateness_of(kind)), *src))
                })
            });
        wakes.min()
    }

    fn memories(&self, kind: Kind) -> usize {
        let knockers = self.tables[kind as usize].values();
        let memories = knockers.map(|(knocker, _)| {
            let attempts = knocker.attempts.iter();
            knocker.packets.len()
                + attempts
                    .map(|(_, attempt)| attempt.memories())
                    .sum::<usize>()
        });
        memories.sum()
    }
}

fn stage(knocker: &Knocker) -> usize {
    let stages = knocker.attempts.iter().map(|(_, attempt)| attempt.stage());
    stages.max().unwrap_or(0)
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
        rule: 0,
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
            pace: Pace {
                window: Duration::from_secs(window),
                knock_timeout: gap.map(Duration::from_secs),
                min_gap: min_gap.map(Duration::from_secs),
                other_ports: if strict {
                    OtherPorts::Reset
                } else {
                    OtherPorts::Ignore
                },
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
        let mut table = AttemptTable::new(doors.clone(), lateness, limits);
        let mut plain = Plain {
            doors,
            limits,
            lateness,
            identity: table.identity.clone(),
            recent: RecentPackets::new(packets),
            reach: table.reach,
            tables: Default::default(),
            age: 0,
            book: Book::default(),
            lockouts: Lockouts::default(),
        };
        let mut now = Time::from_secs(1_000);
        for knock in &knocks {
            now = now.after(Duration::from_millis(knock.0));
            let (mut told, mut expected) = (Vec::new(), Vec::new());
            // Not every hit comes after the end of expired attempts.
            if knock.3 % 3 > 0 {
                table.handle_timeout(now, &mut |detected| told.push(detected));
                plain.handle_timeout(now, &mut expected);
            }
            let hit = hit(now, knock);
            let verdict = table.handle_hit(&hit, &mut |detected| told.push(detected));
            prop_assert_eq!(verdict, plain.handle_hit(&hit, &mut expected));
            prop_assert_eq!(told, expected);
            for (kind, table) in Kind::ALL.into_iter().zip(&table.tables) {
                prop_assert_eq!(table.len(), plain.tables[kind as usize].len());
                prop_assert_eq!(table.memories(), plain.memories(kind));
                prop_assert_eq!(table.next_wake().map(|(wake, _)| wake), plain.next_wake(kind).map(|(wake, _)| wake));
            }
        }
    }
}

#[test]
fn over_a_reload_an_attempt_continues_at_an_unchanged_door_and_is_dropped_at_a_changed_one() {
    let door = |name: &str, ports: [u16; 2]| {
        Arc::new(Door {
            name: name.into(),
            rule: Rule::Sequence(SequenceRule {
                pace: Pace {
                    other_ports: OtherPorts::Ignore,
                    ..example::PACE
                },
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
    let mut table = AttemptTable::new(before, Duration::ZERO, Limits::default());
    let at = Time::from_secs(1000);
    let first = hit(at, &(0, 7, 1, 40_001, false));
    table.handle_hit(&first, &mut |_| ()).unwrap();
    table.replace_doors(after);
    let mut completed = Vec::new();
    let second = hit(at, &(0, 7, 2, 40_002, false));
    let told = table.handle_hit(&second, &mut |detected| {
        if matches!(detected.progress, Progress::Completed { .. }) {
            completed.push(detected.door.name.to_string());
        }
    });
    assert_eq!((told, completed), (Ok(()), vec!["as it was".to_owned()]));
}
