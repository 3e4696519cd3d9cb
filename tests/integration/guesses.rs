//! Guesses at the code of a door: what `check` says of them holds, whoever guesses.
//!
//! The codes here are of three digits, one a knock, so that a guess is right often enough to be counted; what
//! bounds the guesses does not know how long a code is. Whoever guesses knows the beginning.

use std::sync::Arc;
use std::time::Duration;

use crate::chained::Engine;
use logknock::engine::attempts::Limits;
use logknock::engine::door::{Door, OneTimeRule, Rule};
use logknock::engine::event::{EventKind, ResetReason};
use logknock::engine::grant::Task;
use logknock::engine::one_time::Origin;
use logknock::engine::sequence::{Step, Transport};
use logknock::engine::time::Time;
use logknock::engine::totp::{Secret, Totp, TotpKeys};

use super::example;
use super::knocks::{Knock, sighting};
use super::random::Random;

const BEGINNING: [u16; 2] = [7001, 8002];
const BASE: u16 = 21_000;

fn totp() -> Totp {
    let step = |port| Step {
        port,
        transport: Transport::Tcp,
    };
    let keys = TotpKeys {
        secret: Secret::new(b"12345678901234567890".to_vec()).unwrap(),
        knocks: 3,
        ports: (BASE, BASE + 9),
        transport: Transport::Tcp,
        step: 30,
        skew: 0,
        beginning: Some(BEGINNING.map(step).into()),
    };
    Totp::new(keys).unwrap()
}

/// A door, and what came of the guesses at it.
struct Guessed {
    engine: Engine,
    /// For source ports that do not come again soon.
    hits: usize,
    now: Time,
    opened: usize,
    /// When codes failed.
    failed: Vec<Time>,
}

impl Guessed {
    fn new() -> Self {
        let rule = OneTimeRule {
            origin: Origin::Totp(totp()),
            pace: example::PACE,
        };
        let door = Door {
            rule: Rule::OneTime(rule),
            ..example::door(&[1])
        };
        Self {
            engine: Engine::new(vec![Arc::new(door)], Duration::ZERO, Limits::default()),
            hits: 0,
            now: Time::from_secs(1_700_000_000),
            opened: 0,
            failed: Vec::new(),
        }
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.engine.detection.handle_unix(self.now, self.now);
        self.engine.handle_timeout(self.now);
        self.settle();
    }

    /// The beginning, and these digits on their ports, from an address.
    fn guess(&mut self, from: u8, digits: &[u16]) {
        let ports = digits.iter().map(|digit| BASE + digit);
        for port in BEGINNING.into_iter().chain(ports) {
            self.wait(Duration::from_millis(10));
            self.hits = (self.hits + 1) % 60_000;
            let knock = Knock {
                after: 0,
                from,
                port,
                udp: false,
            };
            // Whether it counts is what is asked.
            let _ = (self.engine).handle_packet(self.now, &sighting(self.hits, &knock, self.now));
            self.settle();
        }
    }

    fn settle(&mut self) {
        let mut opened = 0;
        self.engine.settle(self.now, &mut |_, order| {
            opened += usize::from(matches!(order.task, Task::Open(_) | Task::Run(_)));
        });
        self.opened += opened;
        while let Some(event) = self.engine.poll_event() {
            if let EventKind::Reset {
                stage: 2..,
                reason: ResetReason::WrongPort,
                ..
            } = event.kind
            {
                self.failed.push(event.at);
            }
        }
    }
}

/// Knocks that are five codes at once, as a repeat changes nothing: AAA, AAB, ABA, ABB and ABC.
fn five_codes(random: &mut Random) -> [u16; 7] {
    let mut digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    random.shuffle(&mut digits);
    let [a, b, c, ..] = digits;
    [a, a, a, b, a, b, c]
}

#[test]
fn a_guess_opens_no_more_often_than_is_said_however_it_is_knocked() {
    let (mut guessed, mut random) = (Guessed::new(), Random(20_261_129));
    for number in 0..10_000_u32 {
        // So slowly that none is refused.
        guessed.wait(Duration::from_secs(190));
        guessed.guess(
            u8::try_from(number % 200).unwrap(),
            &five_codes(&mut random),
        );
    }
    let failed = guessed.failed.len();
    assert!((9_500..10_000).contains(&failed), "{failed} failed");
    let said = f64::from(10_000_u16) / totp().guesses();
    let opened = f64::from(u16::try_from(guessed.opened).unwrap());
    // Within four standard deviations of what is said, which is the most that there is to gain.
    let spread = 4.0 * said.sqrt();
    assert!(
        (opened - said).abs() < spread,
        "{opened} opened, {said} are said"
    );
}

#[test]
fn a_network_full_of_addresses_gets_twenty_guesses_an_hour() {
    let (mut guessed, mut random) = (Guessed::new(), Random(20_261_129));
    let hours = 100;
    let end = guessed.now.after(Duration::from_secs(3600 * 100));
    while guessed.now < end {
        let digits: Vec<_> = (0..3)
            .map(|_| u16::try_from(random.below(10)).unwrap())
            .collect();
        guessed.guess(u8::try_from(random.below(250)).unwrap(), &digits);
        guessed.wait(Duration::from_secs(10));
    }
    // An hour in which they fail, and an hour in which they are refused.
    let came = guessed.failed.len();
    assert!(came > 300 * hours, "{came} came");
    assert!(guessed.opened <= 8, "{} opened", guessed.opened);
}
