//! The engine, the runner's loop and the ledger together: random knocks, ends of commands, faults of the
//! disk, kills and losses of power, against a firewall that remembers what was done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use proptest::prelude::*;

use super::*;
use crate::engine::Engine;
use crate::engine::action::GrantId;
use crate::engine::detector;
use crate::engine::door::{GrantRule, OnRepeat};
use crate::engine::example;
use crate::engine::grant::SavedGrant;
use crate::runner::ledger::forgetful_disk::ForgetfulDisk;
use crate::runner::ledger::{Boot, Opened};

/// How long a door stays open.
const HOLD: Duration = Duration::from_secs(10);

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// An address completes the sequence.
    Knock(u8),
    /// So many seconds pass.
    Pass(u64),
    /// The runner does what has come in.
    Turn,
    /// A command that runs ends so; one that fails has done its work or not.
    End(usize, Outcome, bool),
    /// The disk does this from now on.
    Faults(Vec<u8>),
    /// SIGKILL; each command that runs has done its work or not.
    Kill(Vec<bool>),
    /// The plug is pulled. The rules are gone with it, or another machine has them.
    LosePower(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![3 => Just(Outcome::Done), 1 => Just(Outcome::Failed)];
    prop_oneof![
        4 => (0..6_u8).prop_map(Step::Knock),
        3 => (0..8_u64).prop_map(Step::Pass),
        8 => Just(Step::Turn),
        8 => (any::<usize>(), outcome, any::<bool>()).prop_map(|(which, outcome, done)| Step::End(which, outcome, done)),
        2 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Step::Faults),
        1 => prop::collection::vec(any::<bool>(), 8).prop_map(Step::Kill),
        1 => prop::collection::vec(any::<u8>(), 40).prop_map(Step::LosePower),
    ]
}

fn door(on_repeat: OnRepeat) -> Arc<Door> {
    let plain = example::door(&[7000]);
    Arc::new(Door {
        grant: GrantRule {
            hold: HOLD,
            on_repeat,
            open: example::command(&["open", "%IP%"]),
            close: example::command(&["close", "%IP%"]),
            ..plain.grant
        },
        ..plain
    })
}

struct World {
    disk: ForgetfulDisk,
    door: Arc<Door>,
    boots: usize,
    now: Time,
    engine: Engine,
    dispatcher: Dispatcher,
    inbox: Sender<Message>,
    messages: Receiver<Message>,
    /// Commands that run, one of an address at most.
    running: BTreeMap<IpAddr, Task>,
    /// Grants that are given up when their close fails: of an open command that failed, or of an earlier
    /// boot. Here it succeeds.
    given_up: BTreeSet<GrantId>,
    /// For whom the firewall is open.
    open: BTreeSet<IpAddr>,
    /// … and its open command is known to have succeeded.
    proven: BTreeSet<IpAddr>,
}

impl World {
    fn new(on_repeat: OnRepeat) -> Self {
        let (disk, door, now) = (ForgetfulDisk::default(), door(on_repeat), clock::boot_now());
        let (engine, grants, dispatcher, inbox, messages) = start(&disk, &door, 0, now);
        assert_eq!(grants, []);
        Self {
            disk,
            door,
            boots: 0,
            now,
            engine,
            dispatcher,
            inbox,
            messages,
            running: BTreeMap::new(),
            given_up: BTreeSet::new(),
            open: BTreeSet::new(),
            proven: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Knock(last) => {
                let src = IpAddr::from([192, 0, 2, last]);
                self.engine.handle_open(self.now, "ssh", src).unwrap();
            }
            Step::Pass(seconds) => {
                self.now = self.now.after(Duration::from_secs(seconds));
                self.engine.handle_timeout(self.now);
            }
            Step::Turn => return self.turn(),
            Step::End(which, outcome, done) => {
                let count = self.running.len().max(1);
                if let Some(src) = self.running.keys().nth(which % count).copied() {
                    self.end(src, outcome, done);
                }
            }
            Step::Faults(turns) => self.disk.schedule(&turns),
            Step::Kill(done) => {
                let mut done = done.into_iter().cycle();
                for (src, task) in std::mem::take(&mut self.running) {
                    if done.next() == Some(true) {
                        self.work(src, &task);
                    }
                }
                return self.restart();
            }
            Step::LosePower(chances) => {
                let mut chances = chances.into_iter().map(usize::from).cycle();
                self.disk.lose_power(|ways| chances.next().unwrap() % ways);
                self.boots += 1;
                self.running.clear();
                if chances.next().unwrap() % 2 == 0 {
                    self.open.clear();
                }
                return self.restart();
            }
        }
        Ok(())
    }

    /// What the dispatcher's loop does between two waits.
    fn turn(&mut self) -> Result<(), TestCaseError> {
        self.submit();
        while let Ok(message) = self.messages.try_recv() {
            self.dispatcher.handle(message);
        }
        self.dispatcher.commit();
        self.dispatcher.start_ready();
        self.hear();
        // A dry run ends each command as it starts: here it runs until the world ends it.
        while let Ok(message) = self.messages.try_recv() {
            let Message::Ended(src, task, ended) = message else {
                panic!("{message:?}");
            };
            if let How::NotStarted(_) = ended.how {
                self.dispatcher.finish(src, task, ended);
                continue;
            }
            if matches!(task, Task::Open(_)) {
                prop_assert!(!self.proven.contains(&src), "{} is opened twice", src);
            }
            let before = self.running.insert(src, task);
            prop_assert!(before.is_none(), "two commands at once for {}", src);
        }
        self.hear();
        Ok(())
    }

    fn submit(&mut self) {
        while self.engine.poll_event().is_some() {}
        while let Some(action) = self.engine.poll_action() {
            self.inbox.send(Message::Do(action)).unwrap();
        }
    }

    fn hear(&mut self) {
        for carried in std::mem::take(&mut self.dispatcher.reports) {
            if let Carried::Finished {
                grant,
                command,
                outcome,
                ..
            } = carried
            {
                self.engine
                    .handle_finished(self.now, grant, command, outcome);
            }
        }
    }

    fn end(&mut self, src: IpAddr, outcome: Outcome, done: bool) {
        let Some(task) = self.running.remove(&src) else {
            return;
        };
        let outcome = match &task {
            Task::Close(grant) if self.given_up.contains(grant) => Outcome::Done,
            _ => outcome,
        };
        if outcome == Outcome::Done || done {
            self.work(src, &task);
        }
        let status = match (&task, outcome) {
            (Task::Open(_), Outcome::Done) => {
                self.proven.insert(src);
                0
            }
            (Task::Open(grant), Outcome::Failed) => {
                self.given_up.insert(*grant);
                1
            }
            (_, Outcome::Done) => 0,
            (_, Outcome::Failed) => 1,
        };
        let nothing = Invocation::default();
        let ended = Ended::new(&nothing, How::Exited(status), Vec::new(), Duration::ZERO);
        self.inbox.send(Message::Ended(src, task, ended)).unwrap();
    }

    /// Does to the firewall what a command does.
    fn work(&mut self, src: IpAddr, task: &Task) {
        match task {
            Task::Open(_) => drop(self.open.insert(src)),
            Task::Close(_) => {
                self.open.remove(&src);
                self.proven.remove(&src);
            }
            Task::Run(..) => {}
        }
    }

    /// Another start. Whatever is open has come back, and nothing was damaged.
    fn restart(&mut self) -> Result<(), TestCaseError> {
        self.disk.schedule(&[]);
        self.proven.clear();
        let (engine, grants, dispatcher, inbox, messages) =
            start(&self.disk, &self.door, self.boots, self.now);
        let known: BTreeSet<_> = grants.iter().map(|grant| grant.src).collect();
        let rebooted = grants.iter().filter(|grant| grant.rebooted);
        self.given_up.extend(rebooted.map(|grant| grant.id));
        prop_assert!(
            self.open.is_subset(&known),
            "{:?} are open, only {:?} came back",
            self.open,
            known
        );
        let latest = self.now.after(HOLD);
        prop_assert!(engine.standing().all(|grant| grant.until <= latest));
        (self.engine, self.dispatcher) = (engine, dispatcher);
        (self.inbox, self.messages) = (inbox, messages);
        Ok(())
    }

    /// All goes well from here: nothing is open in the end, and nothing is on the disk.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.disk.schedule(&[]);
        let mut turns = 0;
        while self.engine.grants() > 0 || !self.running.is_empty() {
            turns += 1;
            prop_assert!(turns < 1000, "{:?} never closes", self.open);
            self.dispatcher.ledger.retry_now();
            self.turn()?;
            for src in self.running.keys().copied().collect::<Vec<_>>() {
                self.end(src, Outcome::Done, true);
            }
            self.turn()?;
            if let Some(due) = self
                .engine
                .poll_timeout()
                .filter(|_| self.running.is_empty())
            {
                self.now = self.now.max(due);
                self.engine.handle_timeout(self.now);
            }
        }
        prop_assert!(self.open.is_empty(), "{:?} are left open", self.open);
        // What was forgotten last is written with the next turn.
        self.dispatcher.ledger.retry_now();
        self.turn()?;
        self.restart()?;
        prop_assert_eq!(self.engine.grants(), 0, "closed, but on the disk");
        Ok(())
    }
}

fn start(
    disk: &ForgetfulDisk,
    door: &Arc<Door>,
    boots: usize,
    now: Time,
) -> (
    Engine,
    Vec<SavedGrant>,
    Dispatcher,
    Sender<Message>,
    Receiver<Message>,
) {
    let boot = Boot {
        id: boots.to_string().into(),
        // The journal's stamps are of the real clock, which ours is never behind.
        now: now.max(clock::boot_now()),
    };
    let Opened {
        ledger,
        grants,
        next,
        notice,
        ..
    } = Ledger::recover(Box::new(disk.clone()), &boot).unwrap();
    assert!(notice.is_none(), "a crash is no damage: {notice:?}");
    let limits = detector::Limits::default();
    let doors = vec![Arc::clone(door)];
    let mut engine = Engine::new(doors, Duration::ZERO, limits, next.0 - 1);
    for grant in &grants {
        engine.restore(grant.clone());
    }
    let (inbox, messages) = mpsc::channel();
    let dispatcher = Dispatcher::new(Way::Dry, 4, ledger, (inbox.clone(), Arc::default()));
    (engine, grants, dispatcher, inbox, messages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_fails_and_whenever_it_dies_nothing_stays_open(
        on_repeat in prop::sample::select(vec![OnRepeat::Extend, OnRepeat::Ignore, OnRepeat::Reopen]),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(on_repeat);
        for step in steps {
            world.step(step)?;
        }
        world.settle()?;
    }
}
