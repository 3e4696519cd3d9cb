//! The server of a fleet loses its power while codes are claimed: what was acknowledged is claimed still.
//!
//! Its streams are on a file system of their own, in a file behind a loop device. A copy of that file, made while the
//! server is stopped in the middle of its work, is the disk after a power loss: what the server or the kernel
//! has not written through is only in memory, and not in the copy. A file that nobody synced shows that.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use logknock::fleet::message::{Code, FromAgent, ToAgent, line};

use crate::fleet_bus::Bus;
use crate::lab::PATIENCE;
use crate::need::need;
use crate::process::{eventually, run};

/// Codes of each gateway, more than it claims.
const CODES: u64 = 10_000;
/// Claims of each gateway that are on their way at once, also when the power goes. The server answers all that it has
/// read when it has stored the last of them, so more of them would wait for longer than an agent does.
const AT_ONCE: usize = 50;
/// Claims that have been won when the power goes.
const BEFORE: usize = 500;
/// Times that it is tried: other work on this machine may sync all disks meanwhile.
const TRIES: usize = 5;

/// A file system in a file, mounted until this is dropped.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn new(image: PathBuf, at: PathBuf) -> Self {
        fs::create_dir(&at).expect("a directory");
        // No commit of the journal by time: only by what a program syncs.
        let words = ["-o", "loop,commit=300"].into_iter();
        let paths = [&image, &at].map(|path| path.to_str().expect("plain"));
        run("mount", words.chain(paths));
        Self { image, at }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = crate::process::command("umount")
            .arg("--lazy")
            .arg(&self.at)
            .status();
    }
}

/// Claims codes over an agent.
struct Claimant {
    agent: UnixStream,
    name: String,
    heard: BufReader<UnixStream>,
}

impl Claimant {
    fn new(agent: UnixStream, name: &str) -> Self {
        let heard = agent.try_clone().expect("another descriptor");
        heard
            .set_read_timeout(Some(PATIENCE))
            .expect("it is a socket");
        Self {
            agent,
            name: name.to_owned(),
            heard: BufReader::new(heard),
        }
    }

    fn claim(&mut self, number: u64, code: u64) {
        let claim = ToAgent::Claim {
            number,
            code: Code::Step("vpn".to_owned(), i64::try_from(code).expect("small")),
            by: format!("{} {number:016x}", self.name),
        };
        self.agent.write_all(&line(&claim)).expect("it listens");
    }

    /// Claims codes until the bus is gone, some at a time. Each that is won is put into `won`, and counted in `all`.
    fn claim_all(
        &mut self,
        mut codes: impl Iterator<Item = (u64, u64)>,
        won: &mut BTreeSet<u64>,
        all: &AtomicUsize,
    ) {
        let mut on_their_way = 0;
        loop {
            for (number, code) in codes.by_ref().take(AT_ONCE - on_their_way) {
                self.claim(number, code);
                on_their_way += 1;
            }
            match self.hears() {
                FromAgent::Claimed(number, true) => {
                    won.insert(number);
                    on_their_way = on_their_way.saturating_sub(1);
                    all.fetch_add(1, Ordering::Relaxed);
                }
                FromAgent::Connected(false) => return,
                _ => {}
            }
        }
    }

    /// Waits until so many claims have been won.
    fn wins(&mut self, won: &mut BTreeSet<u64>, count: usize) {
        while won.len() < count {
            if let FromAgent::Claimed(number, true) = self.hears() {
                won.insert(number);
            }
        }
    }

    /// What the agent says next.
    #[track_caller]
    fn hears(&mut self) -> FromAgent {
        let mut text = String::new();
        let read = self.heard.read_line(&mut text);
        assert!(
            read.is_ok_and(|length| length > 0),
            "{} is silent",
            self.name
        );
        serde_json::from_str(&text).expect("a message")
    }
}

#[test]
fn after_a_power_loss_of_the_server_no_acknowledged_claim_can_be_won_again() {
    if !need(&["mount", "umount", "mkfs.ext4", "truncate"]) {
        return;
    }
    assert!(
        (0..TRIES).any(|_| power_loss()),
        "each loss of power was spoilt by a sync of all disks"
    );
}

/// One loss of power. Returns false if it was none: a sync of all disks had saved what would have been lost.
fn power_loss() -> bool {
    let Some(mut bus) = Bus::new("60s", "") else {
        return true;
    };
    let place = |name: &str| bus.fleet.dir().join(name);
    let [image, copy] = ["disk.img", "copy.img"].map(place);
    let (first, second) = (place("first"), place("second"));
    let at = |path: &Path| path.to_str().expect("plain").to_owned();
    run("truncate", ["--size=64M", &at(&image)]);
    run("mkfs.ext4", ["-q", &at(&image)]);
    let disk = Disk::new(image, first);
    bus.kill_server();
    bus.store_in(&disk.at);
    bus.start_server();
    bus.make_streams();
    let names = ["gw1", "gw2", "gw3"];
    let mut claimants = [0, 1, 2].map(|number| {
        let mut claimant = Claimant::new(bus.play_daemon(number), names[number]);
        while claimant.hears() != FromAgent::Connected(true) {}
        claimant
    });

    // Each code by one gateway, some at a time. The power goes while many are on their way.
    let mut won: [BTreeSet<u64>; 3] = Default::default();
    let mut numbers = 0..CODES;
    for round in 1..=3 {
        let numbers: Vec<_> = numbers.by_ref().take(20).collect();
        for (at, claimant) in (0..).zip(&mut claimants) {
            for number in &numbers {
                claimant.claim(*number, 1 + at * CODES + number);
            }
        }
        for (claimant, won) in claimants.iter_mut().zip(&mut won) {
            claimant.wins(won, round * 20);
        }
    }
    let (all, numbers) = (AtomicUsize::new(0), numbers.start..CODES);
    let unsynced = disk.at.join("unsynced");
    thread::scope(|scope| {
        for (at, (claimant, won)) in (0..).zip(claimants.iter_mut().zip(&mut won)) {
            let codes = numbers
                .clone()
                .map(move |number| (number, 1 + at * CODES + number));
            let all = &all;
            scope.spawn(move || claimant.claim_all(codes, won, all));
        }
        eventually("claims are won", PATIENCE, || {
            all.load(Ordering::Relaxed) >= BEFORE
        });
        bus.stop_server();
        // By nobody else's sync either: nothing writes there any more.
        fs::write(&unsynced, "lost").expect("it is ours");
        run("cp", ["--sparse=always", &at(&disk.image), &at(&copy)]);
        // What had been acknowledged before is still on its way; then the bus is gone.
        bus.kill_server();
    });
    let total: usize = won.iter().map(BTreeSet::len).sum();

    let disk = Disk::new(copy, second);
    if disk.at.join("unsynced").exists() {
        return false;
    }
    bus.store_in(&disk.at);
    bus.start_server();
    for claimant in &mut claimants {
        while claimant.hears() != FromAgent::Connected(true) {}
    }
    // Each by another gateway than the one that has won it.
    let mut again = 0;
    for (at, (other, won)) in (0..).zip([1, 2, 0].into_iter().zip(&won)) {
        let claimant = &mut claimants[other];
        for number in won {
            claimant.claim(CODES + number, 1 + at * CODES + number);
        }
        let mut answered = BTreeSet::new();
        while answered.len() < won.len() {
            match claimant.hears() {
                FromAgent::Claimed(number, is_won) if number >= CODES => {
                    answered.insert(number);
                    again += u64::from(is_won);
                }
                _ => {}
            }
        }
    }
    assert_eq!(again, 0, "of {total} acknowledged claims");
    claimants[0].claim(1, 9_999_999);
    let answer = loop {
        if let FromAgent::Claimed(1, is_won) = claimants[0].hears() {
            break is_won;
        }
    };
    assert!(answer, "a code that nobody has claimed");
    println!("power loss: {total} claims acknowledged, {again} of them won again");
    true
}
