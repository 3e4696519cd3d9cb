//! Every way that the grants of one address can go, up to a depth: knocks, ends of commands, time, a new
//! configuration, a disk that refuses, and a crash between any two writes.
//!
//! The machine is the real [`Grants`]. The disk keeps what was synced and, of the rest, any prefix; the
//! world is a firewall's rules. After every step no rule stands of which no close is owed, and every grant
//! has a way on. From every state all is closed if nothing fails any more. Faults put into the harness show
//! that such ones are found.

use std::collections::HashSet;

use super::super::door::GrantRule;
use super::super::example;
use super::*;

const SRC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Knocks come only while there are fewer grants.
const MOST: usize = 4;

/// Something wrong with who writes, who runs commands, or the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// None.
    Sound,
    /// The begin of a grant is not written.
    NoBegin,
    /// A command runs before what it waits for is written.
    RunFirst,
    /// Of one write, what comes last is first on the disk.
    Backwards,
    /// A close that waited for a newer grant is not resumed.
    NoResume,
    /// A close that failed gets no timer.
    NoTimer,
}

/// What is tried out.
#[derive(Clone, Copy, Debug)]
struct Setting {
    judging: Judging,
    on_repeat: OnRepeat,
    fault: Fault,
}

/// The door as one of two configurations has it: they close with different commands.
fn door(setting: Setting, variant: usize) -> Arc<Door> {
    let word = variant.to_string();
    let plain = example::door(&[7000]);
    Arc::new(Door {
        grant: GrantRule {
            on_repeat: setting.on_repeat,
            open: example::command(&["open", &word]),
            close: example::command(&["close", &word]),
            judging: setting.judging,
            once: Box::new([example::tcp(22)]),
            ..plain.grant
        },
        ..plain
    })
}

fn variant_of(invocation: &Invocation) -> usize {
    invocation.argv[1].parse().unwrap()
}

/// A line of the journal.
#[derive(Clone, Debug)]
enum Line {
    Begin(SavedGrant),
    Opened(GrantId),
    Moved(GrantId, Time),
    Closed(GrantId),
}

/// What the journal says.
#[derive(Clone, Debug, Default)]
struct Image {
    open: BTreeMap<GrantId, SavedGrant>,
    last: u64,
}

impl Image {
    fn apply(&mut self, line: &Line) {
        match line {
            Line::Begin(saved) => {
                self.last = self.last.max(saved.id.0);
                self.open.insert(saved.id, saved.clone());
            }
            Line::Opened(id) => {
                self.open.entry(*id).and_modify(|saved| saved.proven = true);
            }
            Line::Moved(id, at) => {
                self.open
                    .entry(*id)
                    .and_modify(|saved| saved.deadline = *at);
            }
            Line::Closed(id) => drop(self.open.remove(id)),
        }
    }

    fn of(grants: &Grants) -> Self {
        Self {
            open: grants
                .iter()
                .map(|(id, grant)| (id, saved(id, grant)))
                .collect(),
            last: grants.last_id,
        }
    }
}

fn saved(id: GrantId, grant: &Grant) -> SavedGrant {
    SavedGrant {
        id,
        door: Arc::clone(&grant.door),
        src: grant.src,
        deadline: grant.deadline,
        origin: grant.origin.clone(),
        close: grant.close.clone(),
        judging: grant.judging,
        proven: grant.opened.is_some(),
        rebooted: false,
    }
}

/// What was synced, and what was written since; once it has refused, nothing until it is rewritten.
#[derive(Clone, Debug, Default)]
struct Disk {
    synced: Image,
    unsynced: Vec<Line>,
    refused: bool,
}

impl Disk {
    /// What is on the disk if only some of the lines since the last sync have reached it.
    fn after_crash(&self, kept: usize) -> Image {
        let mut image = self.synced.clone();
        self.unsynced[..kept]
            .iter()
            .for_each(|line| image.apply(line));
        image
    }

    fn write_anew(&mut self, grants: &Grants) {
        *self = Self {
            synced: Image::of(grants),
            ..Self::default()
        };
    }
}

/// A command that runs.
#[derive(Clone, Debug)]
struct Running {
    task: Task,
    variant: usize,
}

#[derive(Clone, Debug)]
struct State {
    grants: Grants,
    now: Time,
    disk: Disk,
    queue: VecDeque<Order>,
    running: Option<Running>,
    /// Grants whose open command was started by this process.
    started: BTreeSet<GrantId>,
    /// How many rules stand, by the configuration that they are of.
    rules: [u8; 2],
    /// … of which the close failed as often as it is tried.
    excused: [u8; 2],
    /// Which configuration is read.
    variant: usize,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A knock, or an open by hand.
    Knock,
    /// The first connection.
    Enter,
    /// A close of everything by hand.
    CloseAll,
    /// The other configuration is read.
    Reload,
    /// What is due next is done.
    Tick,
    /// A day passes before anything is done.
    Sleep,
    /// The command that runs ends; whether it has done its work.
    End(Outcome, bool),
    /// The disk that refused is tried again.
    Retry,
    /// All is killed, and of the lines that were not synced any number stays; whether the command that runs
    /// has done its work.
    Crash(bool),
    /// The power fails: no rule is left.
    Reboot,
}

const STEPS: [Step; 14] = [
    Step::Knock,
    Step::Enter,
    Step::CloseAll,
    Step::Reload,
    Step::Tick,
    Step::Sleep,
    Step::End(Outcome::Done, true),
    Step::End(Outcome::Failed, true),
    Step::End(Outcome::Failed, false),
    Step::End(Outcome::NotRun, false),
    Step::Retry,
    Step::Crash(false),
    Step::Crash(true),
    Step::Reboot,
];

type Checked = Result<(), String>;

impl State {
    fn new() -> Self {
        Self {
            grants: Grants::default(),
            now: Time::from_secs(1_000),
            disk: Disk::default(),
            queue: VecDeque::new(),
            running: None,
            started: BTreeSet::new(),
            rules: [0; 2],
            excused: [0; 2],
            variant: 0,
        }
    }

    /// Every state that `step` can lead to.
    fn after(&self, step: Step, setting: Setting) -> Result<Vec<Self>, String> {
        let mut found = Vec::new();
        match step {
            Step::Crash(worked) => {
                if worked && self.running.is_none() {
                    return Ok(found);
                }
                let mut crashed = self.clone();
                if let (true, Some(running)) = (worked, &self.running) {
                    crashed.work(running, setting);
                }
                crashed.crash_anywhere(&mut found);
            }
            Step::Reboot => {
                let mut rebooted = self.clone();
                (rebooted.rules, rebooted.excused) = ([0; 2], [0; 2]);
                let mut image = self.disk.after_crash(self.disk.unsynced.len());
                for saved in image.open.values_mut() {
                    (saved.rebooted, saved.deadline) = (true, self.now);
                }
                rebooted.restart(image);
                found.push(rebooted);
            }
            _ => {
                for refuses in [false, true] {
                    let mut next = self.clone();
                    if !next.handle(step, setting)? {
                        break;
                    }
                    let awaited = next.grants.changes.iter().any(Change::is_awaited);
                    if !awaited && refuses {
                        break;
                    }
                    next.carry_out(refuses, setting, &mut found)?;
                    found.push(next);
                }
            }
        }
        for state in &found {
            state.check(setting)?;
        }
        Ok(found)
    }

    /// Whether it can happen.
    fn handle(&mut self, step: Step, setting: Setting) -> Result<bool, String> {
        let door = door(setting, self.variant);
        match step {
            Step::Knock if self.grants.len() < MOST => {
                let opened = self.grants.handle_open(&door, SRC, self.now);
                opened.map_err(|why| format!("{why:?}"))?;
            }
            Step::Enter if self.grants.live(&door.name, SRC).is_some() => {
                let entered = Finding::Entered {
                    door: Arc::clone(&door.name),
                    src: SRC,
                    whence: Whence { source: 0, line: 1 },
                };
                self.grants.handle_finding(&door, entered, self.now);
            }
            Step::CloseAll if !self.grants.is_empty() => {
                self.grants.close_all(None, self.now);
            }
            Step::Reload => self.variant = 1 - self.variant,
            Step::Tick => {
                let Some(due) = self.grants.poll_timeout() else {
                    return Ok(false);
                };
                self.now = self.now.max(due);
                self.grants.handle_timeout(self.now);
            }
            Step::Sleep if !self.grants.is_empty() => {
                self.now = self.now.after(DAY);
                self.grants.handle_timeout(self.now);
            }
            Step::End(outcome, worked) => {
                let Some(running) = self.running.take() else {
                    return Ok(false);
                };
                let is_close = matches!(running.task, Task::Close(_));
                if is_close && outcome == Outcome::NotRun {
                    // A close that is reported as failed without work.
                    return Ok(false);
                }
                if worked {
                    self.work(&running, setting);
                }
                self.end(&running.task, outcome, running.variant, setting)?;
            }
            Step::Retry if self.disk.refused => {
                self.disk.write_anew(&self.grants);
                self.grants.take_changes();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Hands the end of a command to the machine.
    fn end(&mut self, task: &Task, outcome: Outcome, variant: usize, setting: Setting) -> Checked {
        let waiting = |grants: &Grants| -> BTreeSet<_> {
            let waits = |grant: &Grant| grant.phase == Phase::Owed && grant.timer.is_none();
            let all = grants.iter().filter(|(_, grant)| waits(grant));
            all.map(|(id, _)| id).collect()
        };
        let waited = waiting(&self.grants);
        let before = match task {
            Task::Close(id) => self.grants.get(*id).cloned(),
            _ => None,
        };
        self.grants.handle_finished(task, outcome, "", self.now);
        let told: Vec<_> = std::iter::from_fn(|| self.grants.poll_told()).collect();
        if let (Task::Close(id), Some(before), Outcome::Failed) = (task, before, outcome) {
            if self.grants.get(*id).is_none() {
                // Tried once, as its own open failed; the rule that it took over is another's.
                if !before.took_over || before.tries != Some(1) {
                    self.excused[variant] += 1;
                }
                let is_told = told.iter().any(|told| matches!(told, Told::GaveUp(..)));
                if before.judging == Judging::Own && before.tries.is_none() && !is_told {
                    return Err("a close was given up and that is not told".into());
                }
            } else if setting.fault == Fault::NoTimer {
                self.grants.set_timer(*id, None);
            }
        }
        if setting.fault == Fault::NoResume {
            for id in waited {
                self.grants.set_timer(id, None);
            }
        }
        Ok(())
    }

    /// Does to the rules what a command does.
    fn work(&mut self, running: &Running, setting: Setting) {
        let rules = &mut self.rules[running.variant];
        let is_set = setting.judging == Judging::Firewall;
        *rules = match running.task {
            Task::Open(_) if is_set => 1,
            Task::Open(_) => *rules + 1,
            Task::Close(_) => rules.saturating_sub(1),
            Task::Run(_) | Task::Mark(_) => *rules,
        };
        self.forgive();
    }

    fn forgive(&mut self) {
        for (excused, rules) in self.excused.iter_mut().zip(self.rules) {
            *excused = rules.min(*excused);
        }
    }

    /// What the executor does between two waits. Into `crashed` goes what a crash on the way leaves.
    fn carry_out(&mut self, refuses: bool, setting: Setting, crashed: &mut Vec<Self>) -> Checked {
        self.forgive();
        loop {
            while self.grants.poll_told().is_some() {}
            let saved = self.save(refuses, setting, crashed);
            let mut did = false;
            while let Some(order) = self.grants.poll_order() {
                did = true;
                self.take(order, saved, setting)?;
            }
            did |= self.start(setting)?;
            if !did && self.grants.changes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether all changes are on disk.
    fn save(&mut self, refuses: bool, setting: Setting, crashed: &mut Vec<Self>) -> bool {
        let changes = self.grants.take_changes();
        let awaited = changes.iter().any(Change::is_awaited);
        if self.disk.refused && !awaited {
            return changes.is_empty();
        }
        let mut lines: Vec<_> = changes
            .iter()
            .filter_map(|change| self.line(change, setting))
            .collect();
        if setting.fault == Fault::Backwards {
            lines.reverse();
        }
        if self.disk.refused {
            if refuses {
                return false;
            }
            self.disk.write_anew(&self.grants);
            if setting.fault != Fault::NoBegin {
                return true;
            }
        }
        self.disk.unsynced.extend(lines);
        if !awaited {
            return true;
        }
        self.clone().crash_anywhere(crashed);
        if setting.fault == Fault::RunFirst {
            let mut ran = self.clone();
            while let Some(order) = ran.grants.poll_order() {
                if let (Task::Open(_), Some(invocation)) = (&order.task, &order.invocation) {
                    let variant = variant_of(invocation);
                    let task = order.task.clone();
                    ran.work(&Running { task, variant }, setting);
                }
            }
            ran.crash_anywhere(crashed);
        }
        if refuses {
            self.disk.refused = true;
        } else {
            self.disk.synced = self.disk.after_crash(self.disk.unsynced.len());
            self.disk.unsynced.clear();
        }
        !refuses
    }

    fn line(&self, change: &Change, setting: Setting) -> Option<Line> {
        match change {
            Change::Begun(_) if setting.fault == Fault::NoBegin => None,
            Change::Begun(id) => Some(Line::Begin(saved(*id, self.grants.get(*id)?))),
            Change::Opened(id) => Some(Line::Opened(*id)),
            Change::Moved(id) => Some(Line::Moved(*id, self.grants.get(*id)?.deadline)),
            Change::Closed(id) => Some(Line::Closed(*id)),
            Change::Used(_) | Change::Answered(..) => None,
        }
    }

    fn take(&mut self, order: Order, saved: bool, setting: Setting) -> Checked {
        if let Task::Open(id) | Task::Close(id) = order.task
            && self.grants.get(id).is_none()
        {
            return Ok(());
        }
        if order.awaits_disk && !saved {
            return self.end(&order.task, Outcome::NotRun, 0, setting);
        }
        let running = self.running.iter().map(|running| &running.task);
        let mut others = running.chain(self.queue.iter().map(|order| &order.task));
        if others.any(|task| *task == order.task) {
            return Err(format!("{:?} is ordered twice", order.task));
        }
        self.queue.push_back(order);
        Ok(())
    }

    /// Starts the next command of the address, if none runs. Whether there was anything to do.
    fn start(&mut self, setting: Setting) -> Result<bool, String> {
        if self.running.is_some() {
            return Ok(false);
        }
        let Some(order) = self.queue.pop_front() else {
            return Ok(false);
        };
        let (task, now) = (order.task, self.now);
        self.grants
            .handle_started(&task, order.src, order.last, now);
        let invocation = match task {
            Task::Open(id) => {
                let open = |grant: &Grant| grant.phase == Phase::Open;
                order
                    .invocation
                    .filter(|_| self.grants.get(id).is_some_and(open))
            }
            Task::Close(id) => self.grants.get(id).map(|grant| grant.close.clone()),
            Task::Run(_) | Task::Mark(_) => order.invocation,
        };
        let Some(invocation) = invocation else {
            if let Task::Open(_) = task {
                self.end(&task, Outcome::NotRun, 0, setting)?;
            }
            return Ok(true);
        };
        match task {
            Task::Open(id) => drop(self.started.insert(id)),
            Task::Close(id) => self.may_close(id)?,
            Task::Run(_) | Task::Mark(_) => {}
        }
        let variant = variant_of(&invocation);
        self.running = Some(Running { task, variant });
        Ok(true)
    }

    /// A close must not remove the rule of a newer grant that is open.
    fn may_close(&self, id: GrantId) -> Checked {
        let newer = |(other, grant): (GrantId, &Grant)| {
            other != id && grant.phase == Phase::Open && self.started.contains(&other)
        };
        if self.grants.iter().any(newer) {
            return Err(format!("{id:?} is closed while a newer grant is open"));
        }
        Ok(())
    }

    fn crash_anywhere(self, into: &mut Vec<Self>) {
        for kept in 0..=self.disk.unsynced.len() {
            let mut crashed = self.clone();
            crashed.restart(self.disk.after_crash(kept));
            into.push(crashed);
        }
    }

    /// Another process, with what is on the disk.
    fn restart(&mut self, image: Image) {
        self.grants = Grants::new(image.last);
        for saved in image.open.values() {
            self.grants.restore(saved.clone());
        }
        self.disk = Disk {
            synced: image,
            ..Disk::default()
        };
        // What an earlier process has seen opened counts as opened here.
        let proven = self.grants.iter().filter(|(_, grant)| !grant.in_doubt);
        self.started = proven.map(|(id, _)| id).collect();
        self.queue.clear();
        self.running = None;
    }

    /// What must hold after every step.
    fn check(&self, setting: Setting) -> Checked {
        for (variant, rules) in self.rules.iter().enumerate() {
            let closes = |(_, grant): &(GrantId, &Grant)| variant_of(&grant.close) == variant;
            let owed = self.grants.iter().filter(closes).count();
            let owed = owed + usize::from(self.excused[variant]);
            let is_covered = match setting.judging {
                Judging::Firewall => *rules == 0 || owed > 0,
                Judging::Own | Judging::Knockd => usize::from(*rules) <= owed,
            };
            if !is_covered {
                return Err(format!("{rules} rules stand and {owed} closes are owed"));
            }
        }
        let is_ordered = |id: GrantId| {
            let running = self.running.iter().map(|running| &running.task);
            let mut tasks = running.chain(self.queue.iter().map(|order| &order.task));
            tasks.any(|task| *task == Task::Close(id) || *task == Task::Open(id))
        };
        let moves = |id: GrantId, grant: &Grant| grant.timer.is_some() || is_ordered(id);
        for (id, grant) in self.grants.iter() {
            let waits_for = |(other, newer): (GrantId, &Grant)| {
                grant.phase == Phase::Owed
                    && other != id
                    && newer.phase != Phase::Owed
                    && moves(other, newer)
            };
            if !moves(id, grant) && !self.grants.iter().any(waits_for) {
                return Err(format!("{id:?} is stuck: {grant:?}"));
            }
        }
        Ok(())
    }

    /// Nothing fails from here on: all is closed in the end, and nothing is on the disk.
    fn settle(&self, setting: Setting) -> Checked {
        let mut state = self.clone();
        for _ in 0..100 {
            let done = Step::End(Outcome::Done, true);
            let step = [Step::Retry, done, Step::Tick]
                .into_iter()
                .map(|step| state.handle(step, setting))
                .find(|handled| *handled != Ok(false));
            let Some(handled) = step else { break };
            handled?;
            state.carry_out(false, setting, &mut Vec::new())?;
        }
        let left = (0..2).any(|variant| state.rules[variant] > state.excused[variant]);
        let on_disk = state.disk.after_crash(state.disk.unsynced.len()).open;
        if left || !state.grants.is_empty() || !on_disk.is_empty() {
            return Err(format!("it never closes: {:?}", state.grants));
        }
        Ok(())
    }

    /// What distinguishes it from every state that continues differently: times are counted from now, numbers by
    /// rank.
    fn key(&self) -> Key {
        let unsynced = self.disk.unsynced.iter().filter_map(|line| match line {
            Line::Begin(saved) => Some(saved.id),
            _ => None,
        });
        let mut ids: Vec<_> = self.grants.table.keys().copied().collect();
        ids.extend(self.disk.synced.open.keys());
        ids.extend(unsynced);
        ids.sort_unstable();
        ids.dedup();
        let rank = |id: GrantId| ids.binary_search(&id).unwrap_or(usize::MAX);
        let away = |at: Time| at.as_nanos() - self.now.as_nanos();
        let task = |task: &Task| match task {
            Task::Open(id) => (0, rank(*id)),
            Task::Close(id) => (1, rank(*id)),
            Task::Run(_) | Task::Mark(_) => (2, 0),
        };
        let saved = |saved: &SavedGrant| {
            // What is due is due, however long.
            let due = away(saved.deadline).max(0);
            let flags = [saved.proven, saved.rebooted];
            (rank(saved.id), due, flags, variant_of(&saved.close))
        };
        let grants = self.grants.table.iter().map(|(id, grant)| {
            let deadline = (grant.phase == Phase::Open).then(|| away(grant.deadline));
            let times = [grant.timer, grant.failing_since].map(|at| at.map(away));
            let flags = [
                grant.opened.is_some(),
                grant.in_doubt,
                grant.took_over,
                self.started.contains(id),
            ];
            let counts = (grant.failed, grant.tries);
            let of = (rank(*id), grant.phase, variant_of(&grant.close));
            (of, deadline, times, flags, counts)
        });
        let unsynced = self.disk.unsynced.iter().map(|line| match line {
            Line::Begin(begun) => (0, saved(begun)),
            Line::Opened(id) => (1, (rank(*id), 0, [false; 2], 0)),
            Line::Moved(id, at) => (2, (rank(*id), away(*at).max(0), [false; 2], 0)),
            Line::Closed(id) => (3, (rank(*id), 0, [false; 2], 0)),
        });
        Key {
            grants: grants.collect(),
            synced: self.disk.synced.open.values().map(saved).collect(),
            unsynced: unsynced.collect(),
            refused: self.disk.refused,
            queue: self.queue.iter().map(|order| task(&order.task)).collect(),
            running: self
                .running
                .as_ref()
                .map(|running| (task(&running.task), running.variant)),
            world: [self.rules, self.excused],
            variant: self.variant,
        }
    }
}

type Saved = (usize, i64, [bool; 2], usize);
type Held = (
    (usize, Phase, usize),
    Option<i64>,
    [Option<i64>; 2],
    [bool; 4],
    (u32, Option<u32>),
);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    grants: Vec<Held>,
    synced: Vec<Saved>,
    unsynced: Vec<(u8, Saved)>,
    refused: bool,
    queue: Vec<(u8, usize)>,
    running: Option<((u8, usize), usize)>,
    world: [[u8; 2]; 2],
    variant: usize,
}

/// Visits all states that this number of steps leads to, the nearest first. How many there are, or what is wrong and
/// how that comes.
fn search(setting: Setting, depth: usize) -> Result<usize, String> {
    // Each with the step that led to it, and from where.
    let mut trail: Vec<(usize, Step)> = vec![(0, Step::Retry)];
    let mut seen = HashSet::from([State::new().key()]);
    let mut level = vec![(0, State::new())];
    for _ in 0..depth {
        let mut next = Vec::new();
        for (number, state) in level {
            for step in STEPS {
                let found = state.after(step, setting);
                let found = found.map_err(|why| shown(&trail, number, step, &why))?;
                for state in found {
                    if seen.insert(state.key()) {
                        let settled = state.settle(setting);
                        settled.map_err(|why| shown(&trail, number, step, &why))?;
                        trail.push((number, step));
                        next.push((trail.len() - 1, state));
                    }
                }
            }
        }
        level = next;
    }
    Ok(seen.len())
}

fn shown(trail: &[(usize, Step)], mut number: usize, last: Step, why: &str) -> String {
    let mut steps = vec![last];
    while number > 0 {
        let (from, step) = trail[number];
        steps.push(step);
        number = from;
    }
    steps.reverse();
    format!("{why}\nafter {steps:?}")
}

fn settings(fault: Fault) -> impl Iterator<Item = Setting> {
    let judgings = [Judging::Own, Judging::Firewall, Judging::Knockd];
    let repeats = [OnRepeat::Extend, OnRepeat::Ignore, OnRepeat::Reopen];
    judgings.into_iter().flat_map(move |judging| {
        repeats.into_iter().map(move |on_repeat| Setting {
            judging,
            on_repeat,
            fault,
        })
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how deep is said in the environment, as elsewhere"
)]
fn is_long() -> bool {
    std::env::var_os("LOGKNOCK_LONG").is_some()
}

#[test]
fn whatever_fails_and_whenever_it_dies_no_rule_stands_of_which_no_close_is_owed() {
    let depth = if is_long() { 9 } else { 6 };
    for setting in settings(Fault::Sound) {
        let count = search(setting, depth).unwrap_or_else(|why| panic!("{setting:?}: {why}"));
        assert!(count > 1_000, "{setting:?}: {count} states");
    }
}

#[test]
fn every_fault_put_into_it_is_found() {
    for fault in [
        Fault::NoBegin,
        Fault::RunFirst,
        Fault::Backwards,
        Fault::NoResume,
        Fault::NoTimer,
    ] {
        let found = settings(fault).find_map(|setting| search(setting, 6).err());
        assert!(found.is_some(), "{fault:?}");
    }
}
