//! Open Sesamy's own rules, logknock's `counts` doors and `rules --for iptables-recent`, side by side on
//! the same packets: they let in the same knocks.
//!
//! In: random patterns of hits, seeded, from many addresses at once. A pattern ends with a connection to
//! what is secured, after its last hit. Out: who got in. A pattern of which a hit fell beside a window's
//! edge (30 ms: a tick of the kernel and the sender's sleep) is counted as close and not compared. A busy machine
//! delivers packets late: so what differs is played again by itself, and fails the test when it differs three times.

use std::net::Ipv4Addr;

use crate::host::Reach;
use crate::lab::{Family, PATIENCE};
use crate::need::long;
use crate::process::{eventually, finish};
use crate::random::Random;
use crate::sesamy_patterns::{Pattern, knock, pattern, row};
use crate::sesamy_scene::{DOORS, Door, Played, Scene, Verdict, own_doors, random_doors};

/// A list has room for 100 addresses.
const CROWD: u8 = 90;

const SEED: u64 = 0x0_9e5a_3e11;

/// What was compared.
#[derive(Debug, Default)]
struct Tally {
    same: u32,
    close: u32,
    opened: u32,
}

/// How often a pattern is played until what it shows is believed.
const PLAYS: usize = 3;

impl Tally {
    /// The same as `play` with rows of patterns.
    fn play_rows(&mut self, scene: &mut Scene, rows: &[Vec<Vec<Pattern>>; 3], round: usize) {
        for play in 1..=PLAYS {
            let all = scene.play_rows(rows.clone());
            let differs = |played: &Played| {
                let Verdict {
                    script,
                    printed,
                    daemon,
                } = played.verdict;
                !played.close && (script != daemon || printed != daemon)
            };
            let different = all.iter().find(|played| differs(played));
            if different.is_some() && play < PLAYS {
                continue;
            }
            assert!(
                different.is_none(),
                "seed {SEED:#x}, round {round}: {different:?}"
            );
            let close = all.iter().filter(|played| played.close).count();
            let opened = all
                .iter()
                .filter(|played| !played.close && played.verdict.daemon);
            self.opened += u32::try_from(opened.count()).expect("a few");
            self.close += u32::try_from(close).expect("a few");
            self.same += u32::try_from(all.len() - close).expect("a few");
            return;
        }
    }

    /// Has each crowd play, and compares who got in.
    fn play(&mut self, scene: &mut Scene, mut patterns: [Vec<Pattern>; 3], round: usize) {
        for play in 1..=PLAYS {
            let all = scene.play(std::mem::take(&mut patterns));
            let close = all.iter().filter(|played| played.close).count();
            let (few, is_last) = (close * 4 < all.len(), play == PLAYS);
            for played in all {
                let Verdict {
                    script,
                    printed,
                    daemon,
                } = played.verdict;
                // The right knock is let in, so it was delivered late otherwise.
                let same = script == daemon && printed == daemon && daemon >= played.pattern.right;
                if !is_last && if played.close { !few } else { !same } {
                    patterns[played.door].push(played.pattern);
                } else if played.close {
                    self.close += 1;
                } else {
                    assert!(same, "seed {SEED:#x}, round {round}: {played:?}");
                    self.same += 1;
                    self.opened += u32::from(daemon);
                }
            }
            if patterns.iter().all(Vec::is_empty) {
                break;
            }
        }
    }
}

#[test]
fn counts_and_open_sesamys_own_rules_let_in_the_same_knocks() {
    let Some(mut scene) = Scene::new(SEED ^ 1, DOORS) else {
        return;
    };
    let rounds = if long() { 40 } else { 4 };
    let (mut dice, mut tally) = (Random(SEED), Tally::default());
    for round in 0..rounds {
        let patterns = DOORS.map(|door| {
            let one = |_| pattern(door.counts, &mut dice);
            (0..CROWD).map(one).collect()
        });
        tally.play(&mut scene, patterns, round);
    }
    eprintln!("{tally:?}");
    let Tally {
        same,
        close,
        opened,
    } = tally;
    assert!(opened * 5 > same && opened * 2 < same, "{opened} of {same}");
    assert!(close * 3 < same, "{close} too close");
}

#[test]
fn any_counts_let_in_what_open_sesamys_own_rules_let_in() {
    let (scenes, crowd) = if long() { (9, 20) } else { (1, 10) };
    let (mut dice, mut tally) = (Random(SEED), Tally::default());
    for round in 0..scenes {
        let doors = random_doors(&mut dice);
        let Some(mut scene) = Scene::new(SEED ^ 1, doors) else {
            return;
        };
        let patterns = doors.map(|door| {
            let one = |_| pattern(door.counts, &mut dice);
            (0..crowd).map(one).collect()
        });
        tally.play(&mut scene, patterns, round);
    }
    eprintln!("{tally:?}");
    assert!(tally.same > 0 && tally.close < 3 * tally.same, "{tally:?}");
}

/// What one pattern leaves behind matters to the next one of the address.
#[test]
fn rows_of_patterns_let_in_what_open_sesamys_own_rules_let_in_at_another_port_and_at_their_own() {
    let (rounds, crowd) = if long() { (8, 30) } else { (1, 8) };
    let (mut dice, mut tally) = (Random(SEED), Tally::default());
    for doors in [DOORS, own_doors()] {
        let Some(mut scene) = Scene::new(SEED ^ 1, doors) else {
            return;
        };
        for round in 0..rounds {
            let rows = doors.map(|door| (0..crowd).map(|_| row(door.counts, &mut dice)).collect());
            tally.play_rows(&mut scene, &rows, round);
        }
    }
    eprintln!("{tally:?}");
    assert!(tally.opened > 0 && tally.same > tally.opened, "{tally:?}");
}

#[test]
fn late_connections_floods_and_old_hits_count_as_in_open_sesamys_own_rules() {
    let Some(mut scene) = Scene::new(SEED ^ 1, DOORS) else {
        return;
    };
    let mut dice = Random(SEED);
    let right = |counts: [u8; 4], from: f64, dice: &mut Random| {
        let mut hits = knock(counts, dice);
        for hit in &mut hits {
            *hit += from;
        }
        hits
    };
    let mut patterns: [Vec<Pattern>; 3] = Default::default();
    for (patterns, Door { counts, .. }) in patterns.iter_mut().zip(DOORS) {
        let sum = counts.iter().sum::<u8>();
        // A connection half a window later.
        let late = Pattern::new(right(counts, 0.0, &mut dice), 0.5);
        // Hits that are one too many, and then the right ones.
        let mut flood: Vec<f64> = (0..=sum).map(|hit| f64::from(hit) * 0.02).collect();
        flood.extend(right(counts, 0.2, &mut dice));
        // Twice as many hits as the sum, so slowly that they never matter, and then the right ones.
        let old = (0..2 * sum).map(|hit| f64::from(hit) * 4.3 / f64::from(sum));
        let mut much: Vec<f64> = old.collect();
        let last = much.last().copied().unwrap_or_default();
        much.extend(right(counts, last + 4.3, &mut dice));
        *patterns = vec![late, Pattern::new(flood, 0.05), Pattern::new(much, 0.05)];
    }
    Tally::default().play(&mut scene, patterns, 0);
}

/// The four counts of the first door, as its people type them and as `PortKnocker` keeps them.
#[test]
fn the_client_is_let_in_by_all_of_them_with_counts_and_with_knocksettings() {
    let Some(scene) = Scene::new(SEED ^ 1, DOORS) else {
        return;
    };
    let lab = &scene.lab;
    let settings = lab.write(
        "knocksettings.txt",
        "192.0.2.1 443 1212 1000 1 00:0E:35:0E:77:B0\n",
    );
    let settings = settings.to_str().expect("a plain path");
    let typed = "192.0.2.1 --counts 1212 --port 443 --window 1s";
    let door = DOORS[0];
    for (client, who, words) in [
        (&lab.near, Ipv4Addr::new(192, 0, 2, 2), typed.to_owned()),
        (
            &lab.far,
            Ipv4Addr::new(192, 0, 2, 18),
            format!("--settings {settings}"),
        ),
    ] {
        let guarded = [door.secured, door.printed].map(|port| Family::V4.server(port));
        for server in guarded {
            assert_eq!(client.connect(server), Reach::Closed, "{words}");
        }
        let mut knock = client.command(env!("CARGO_BIN_EXE_logknock"));
        finish(knock.arg("knock").args(words.split_whitespace()));
        for server in guarded {
            assert_eq!(client.connect(server), Reach::Open, "{words}, {server}");
        }
        eventually("logknock opens", PATIENCE, || {
            let events = scene.events();
            events
                .get(&who)
                .is_some_and(|events| events.iter().any(|event| event.opens()))
        });
    }
}
