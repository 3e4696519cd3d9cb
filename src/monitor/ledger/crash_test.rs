//! The ledger on a disk that fails and forgets, against a model of what was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::faulty_disk::FaultyDisk;
use super::tests::Book;
use super::*;
use crate::engine::command::Invocation;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Begin,
    Opened(usize),
    Extend(usize),
    Close(usize),
    Commit,
    /// The disk does this from now on.
    Faults(Vec<u8>),
    /// SIGKILL, and a new start on the same boot: what was written is still there.
    Kill,
    /// Power loss, and a new start on another boot.
    LosePower(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Begin),
        2 => any::<usize>().prop_map(Step::Opened),
        2 => any::<usize>().prop_map(Step::Extend),
        3 => any::<usize>().prop_map(Step::Close),
        8 => Just(Step::Commit),
        3 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Step::Faults),
        1 => Just(Step::Kill),
        2 => prop::collection::vec(any::<u8>(), 40).prop_map(Step::LosePower),
    ]
}

/// What the ledger has promised.
#[derive(Default)]
struct Model {
    /// Begun and committed, not closed: must come back. With every deadline since the last start.
    open: BTreeMap<u64, Vec<Time>>,
    /// Begun since the last commit.
    staged: BTreeMap<u64, Vec<Time>>,
    /// Begun at some time: nothing else may come back.
    ever: BTreeSet<u64>,
    /// Once committed: its number may not be given again.
    given: BTreeSet<u64>,
}

impl Model {
    fn pick(&self, choice: usize) -> Option<u64> {
        let open = self.open.keys().copied();
        open.clone().nth(choice % open.len().max(1))
    }
}

struct World {
    disk: FaultyDisk,
    boots: usize,
    book: Book,
    next: u64,
    model: Model,
}

impl World {
    fn new() -> Self {
        let disk = FaultyDisk::default();
        let opened = start(&disk, 0);
        Self {
            disk,
            boots: 0,
            next: opened.grants.next_id(),
            book: Book::of(opened),
            model: Model::default(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Begin => {
                let (id, deadline) = (self.next, in_hours(1));
                self.next += 1;
                let src = IpAddr::from([192, 0, 2, 7]);
                self.book.begin(id, src, deadline, close(id));
                self.model.staged.insert(id, vec![deadline]);
                self.model.ever.insert(id);
            }
            Step::Opened(choice) => {
                if let Some(id) = self.model.pick(choice) {
                    self.book.opened(id);
                }
            }
            Step::Extend(choice) => {
                let deadline = in_hours(2);
                if let Some(id) = self.model.pick(choice) {
                    self.book.extend(id, deadline);
                    self.model.open.get_mut(&id).unwrap().push(deadline);
                }
            }
            Step::Close(choice) => {
                if let Some(id) = self.model.pick(choice) {
                    self.book.closed(id);
                    self.model.open.remove(&id);
                }
            }
            Step::Commit => self.commit(),
            Step::Faults(turns) => self.disk.schedule(&turns),
            Step::Kill => return self.restart(),
            Step::LosePower(chances) => {
                let mut chances = chances.into_iter().map(usize::from).cycle();
                self.disk.lose_power(|ways| chances.next().unwrap() % ways);
                self.boots += 1;
                return self.restart();
            }
        }
        Ok(())
    }

    fn commit(&mut self) {
        let staged = std::mem::take(&mut self.model.staged);
        match self.book.commit() {
            Ok(()) => {
                self.model.given.extend(staged.keys());
                self.model.open.extend(staged);
            }
            Err(_) => assert!(self.disk.failed() > 0),
        }
        for &id in self.model.open.keys() {
            let grant = self.book.grants.get(GrantId(id));
            assert!(grant.is_some(), "closes go on from memory");
        }
    }

    fn restart(&mut self) -> Result<(), TestCaseError> {
        self.disk.schedule(&[]);
        let opened = start(&self.disk, self.boots);
        let found: BTreeMap<_, _> = opened
            .grants
            .iter()
            .map(|(id, grant)| (id.0, grant))
            .collect();
        prop_assert!(
            opened.notice.is_none(),
            "a crash is no damage: {:?}",
            opened.notice
        );
        for (id, deadlines) in &self.model.open {
            let grant = found.get(id);
            prop_assert!(grant.is_some(), "grant {} was promised", id);
            let deadline = grant.unwrap().deadline;
            let known = deadlines.contains(&deadline) || deadline <= clock::boot_now();
            prop_assert!(known, "grant {} would be closed at {:?}", id, deadline);
        }
        for (&id, grant) in &found {
            prop_assert!(self.model.ever.contains(&id), "nobody began grant {}", id);
            prop_assert!(grant.deadline <= in_hours(2));
            prop_assert_eq!(&grant.close, &close(id));
        }
        let highest = self.model.given.last().copied().unwrap_or(0);
        let next = opened.grants.next_id();
        prop_assert!(next > highest, "number {next} would be given again");
        let carried = |(&id, grant): (&u64, &&Grant)| (id, vec![grant.deadline]);
        self.model.open = found.iter().map(carried).collect();
        self.model.given.extend(found.keys());
        self.model.staged.clear();
        self.next = next;
        self.book = Book::of(opened);
        Ok(())
    }
}

fn start(disk: &FaultyDisk, boots: usize) -> Opened {
    let boot = Boot {
        id: boots.to_string().into(),
        now: clock::boot_now(),
    };
    Ledger::recover(Box::new(disk.clone()), &boot).unwrap()
}

fn in_hours(hours: u64) -> Time {
    clock::boot_now().after(Duration::from_secs(hours * 3600))
}

fn close(id: u64) -> Invocation {
    Invocation {
        argv: vec!["nft".to_owned(), id.to_string()],
        env: Vec::new(),
        account: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the disk does and whenever the plug is pulled: every grant that was promised comes
    /// back with a deadline it has had, none comes out of nothing, and no number is given twice.
    #[test]
    fn what_was_promised_survives_any_crash(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        world.restart()?;
    }

    /// Bytes that nobody wrote, spliced into a journal: never a panic, and every grant that is
    /// honoured is one that was begun, as it was begun.
    #[test]
    fn no_damage_makes_up_a_grant(
        splices in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..200, prop::collection::vec(any::<u8>(), 0..50)),
            1..6,
        ),
    ) {
        let mut world = World::new();
        for _ in 0..6 {
            world.step(Step::Begin)?;
            world.step(Step::Commit)?;
        }
        world.step(Step::Close(2))?;
        world.step(Step::Commit)?;
        let mut bytes = world.disk.content(JOURNAL).unwrap();
        for (place, length, replacement) in splices {
            let begin = place.index(bytes.len() + 1);
            let end = bytes.len().min(begin + length);
            bytes.splice(begin..end, replacement);
        }
        world.disk.put(JOURNAL, &bytes);
        for (id, grant) in start(&world.disk, 0).grants.iter() {
            prop_assert!((1..=6).contains(&id.0));
            let known = world.model.open.get(&id.0);
            prop_assert!(known.is_none_or(|deadlines| deadlines.contains(&grant.deadline)));
        }
    }
}
