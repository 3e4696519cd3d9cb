//! The daemon: sources in, engine in the middle, runner out; one loop that never blocks on any of them.
//!
//! In: a [`Plan`]. Out: doors opened and closed, until a signal says stop. Every decision is the
//! engine's. The loop waits for the next message or the next deadline, hands over what came, and
//! carries out what follows; nothing else happens here.

mod checkpoints;
mod control;
mod follow;
mod inbox;
mod knockd_log;
mod plan;
mod records;
mod report;
mod requests;
mod signal;
mod status;
mod systemd;

use std::time::Duration;
use std::{fmt, io};

use self::checkpoints::Checkpoints;
use self::control::Control;
pub use self::control::Socket;
use self::follow::{Followed, Peers, follow};
use self::inbox::{Inbox, Message, Next, Outlet};
pub use self::plan::{Mode, OnExit, Plan, Reload, Rules, Told};
pub use self::records::Files;
use self::records::Records;
use self::report::{Cause, Losses, Reboots, Rejections};
use self::signal::Signal;
use self::status::Counts;
use self::systemd::Notify;
use crate::calendar::{Calendar, Zone};
use crate::clock;
use crate::dialect::Reader;
use crate::engine::action::Outcome;
use crate::engine::detector::Limits;
use crate::engine::event::{Event, EventKind, Whence};
use crate::engine::line::Record;
use crate::engine::loss;
use crate::engine::reason::Reason;
use crate::engine::time::Time;
use crate::engine::timeline::{Received, Stamps, Timeline};
use crate::engine::{Engine, Sighting};
use crate::memory::{self, Memory};
use crate::metrics;
use crate::render::Row;
use crate::runner::ledger::{Boot, Ledger, OpenError, Opened};
use crate::runner::{Carried, Runner};
use crate::source::{self, Batch, Refusal, Report};
use crate::source_spec::SourceSpec;

/// How much later than its stamp a line may arrive without its attempt being expired. journald holds
/// a single line back for half a second.
const LATENESS: Duration = Duration::from_secs(1);
/// Among so many of the last lines that came together, the newest packet line is looked for.
const LOOKED_BACK: usize = 64;

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// The state directory.
    State(OpenError),
    /// A source that cannot be followed.
    Source(SourceSpec, Refusal),
    /// Threads, signals, clocks.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(error) => {
                write!(f, "{error}")?;
                std::error::Error::source(error).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Self::Source(spec, refusal) => write!(f, "cannot follow '{spec}': {refusal}"),
            Self::System(error) => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Runs `plan` until a signal says stop. Returns how many doors were left open though they were to be
/// closed.
pub fn run(plan: Plan) -> Result<usize, StartError> {
    let (inbox, messages) = Inbox::new();
    let signals = signal::listen(inbox.clone())?;
    let mut daemon = Daemon::start(plan, &inbox, messages)?;
    daemon.tell_knockd([daemon.starting()]);
    daemon.work();
    let left = daemon.stop();
    signals.close();
    Ok(left)
}

struct Daemon {
    engine: Engine,
    rules: Rules,
    calendar: Calendar,
    runner: Runner,
    messages: Inbox,
    sources: Vec<Followed>,
    /// One for each source, in their order.
    feeds: Vec<Feed>,
    on_exit: OnExit,
    stop_timeout: Duration,
    rejections: Rejections,
    losses: Losses,
    reboots: Reboots,
    reload: Reload,
    tell: Box<dyn FnMut(Told<'_>)>,
    notify: Notify,
    counts: Counts,
    memory: Memory,
    records: Option<Records>,
    /// How far files are read, where that is kept.
    checkpoints: Option<Checkpoints>,
    control: Option<Control>,
}

/// How the lines of one source are taken.
struct Feed {
    reader: Reader,
    timeline: Timeline,
}

impl Daemon {
    fn start(plan: Plan, inbox: &Outlet, messages: Inbox) -> Result<Self, StartError> {
        let carried = inbox.clone();
        let carried = move |done| {
            // Nobody listens only once we have stopped.
            let _ = carried.send(Message::Carried(done));
        };
        let (mut checkpoints, mut files) = (None, source::file::Options::default());
        let (runner, saved, used, last_id) = match &plan.mode {
            Mode::Dry => (Runner::dry(carried)?, Vec::new(), Vec::new(), 0),
            Mode::Ephemeral => (
                Runner::start(plan.commands, Ledger::in_memory(), carried)?,
                Vec::new(),
                Vec::new(),
                0,
            ),
            Mode::Run(dir) => {
                let Opened {
                    ledger,
                    grants,
                    used,
                    next,
                    notice,
                } = Ledger::open(dir, &Boot::read()?).map_err(StartError::State)?;
                notice.iter().for_each(report::notice);
                let (kept, known) = Checkpoints::open(dir, clock::boot_id()?)?;
                (checkpoints, files.checkpoints) = (Some(kept), Some(known));
                (
                    Runner::start(plan.commands, ledger, carried)?,
                    grants,
                    used,
                    next.0.saturating_sub(1),
                )
            }
        };
        let mut engine = Engine::new(
            plan.rules.doors.clone(),
            LATENESS,
            Limits::default(),
            last_id,
        );
        report::restored(saved.len());
        for grant in saved {
            engine.restore(grant);
        }
        for (door, until) in used {
            engine.restore_used(door, until);
        }
        report::sequences_left(&engine);
        let peers = Peers {
            udp: &plan.udp_peers,
            relay: plan.relay,
        };
        let sources = plan
            .sources
            .into_iter()
            .zip(0..)
            .map(|(spec, number)| follow(spec, number, peers, &files, inbox));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        report::started(plan.rules.doors.len(), sources.len());
        let host = rustix::system::uname();
        let feed = |source: &Followed| Feed {
            reader: plan.rules.reader.of(&source.spec),
            timeline: Timeline::new(plan.rules.max_line_age, host.nodename().to_bytes()),
        };
        let now = clock::boot_now();
        Ok(Self {
            engine,
            feeds: sources.iter().map(feed).collect(),
            counts: Counts::new(now, sources.len()),
            calendar: Calendar::new(Zone::Local, clock::wall_now()),
            rules: plan.rules,
            runner,
            messages,
            sources,
            on_exit: plan.on_exit,
            stop_timeout: plan.stop_timeout,
            rejections: Rejections::default(),
            losses: Losses::default(),
            reboots: Reboots::default(),
            reload: plan.reload,
            tell: plan.tell,
            notify: Notify::new(now),
            memory: Memory::new(memory::Limits::default()),
            records: Records::start(plan.records, now)?,
            checkpoints,
            control: plan.control.and_then(|socket| answer_at(&socket, inbox)),
        })
    }

    /// Until a signal says stop, or every source has come to its end.
    fn work(&mut self) {
        while !self.sources.iter().all(|followed| followed.ended) {
            self.carry_out();
            match self.messages.wait(self.poll_timeout()) {
                Next::Due => {}
                Next::Message(Message::Signal(Signal::Stop)) | Next::Deserted => return,
                Next::Message(Message::Signal(Signal::Reload)) => drop(self.reload()),
                Next::Message(Message::Source(report)) => self.source(report),
                Next::Message(Message::Carried(carried)) => self.carried(carried),
                Next::Message(Message::Request(request, reply)) => {
                    // A client that has gone does not want to know.
                    drop(reply.try_send(self.answer(request)));
                }
            }
            self.handle_timeout();
        }
    }

    /// When there is something to do though nothing has come.
    fn poll_timeout(&self) -> Option<Time> {
        let records = self.records.as_ref().and_then(Records::poll_timeout);
        let dues = [
            self.engine.poll_timeout(),
            self.notify.poll_timeout(),
            records,
            self.checkpoints
                .as_ref()
                .and_then(Checkpoints::poll_timeout),
        ];
        dues.into_iter().flatten().min()
    }

    /// Does what is due.
    fn handle_timeout(&mut self) {
        let now = clock::boot_now();
        self.engine.handle_timeout(now);
        self.notify.handle_timeout(now);
        let metrics = || metrics::render(&self.counts.status(&self.engine, &self.sources, now));
        if let Some(records) = &mut self.records {
            records.handle_timeout(now, metrics);
        }
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.handle_timeout(now);
        }
        if let Some(status) = status::in_short(&self.engine, &self.sources) {
            self.notify.ready();
            self.notify.status(status);
        }
    }

    /// Closes what is to be closed and waits for it, then for the runner.
    fn stop(mut self) -> usize {
        systemd::stopping();
        self.tell_knockd([knockd_log::STOPPING.to_owned()]);
        report::stopping(self.engine.grants());
        let end = clock::boot_now().after(self.stop_timeout);
        // What comes from now on is not looked at, so it is left to the next start.
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.stop();
        }
        self.control = None;
        self.sources.clear();
        if self.on_exit == OnExit::Close {
            self.engine.handle_close_all(clock::boot_now(), None);
        }
        while self.on_exit == OnExit::Close && self.engine.grants() > 0 {
            self.carry_out();
            let due = [self.engine.poll_timeout(), self.notify.poll_timeout()];
            let due = due.into_iter().flatten().fold(end, Time::min);
            match self.messages.wait(Some(due)) {
                Next::Due if clock::boot_now() >= end => break,
                Next::Due => {
                    self.engine.handle_timeout(clock::boot_now());
                    self.notify.handle_timeout(clock::boot_now());
                }
                Next::Message(Message::Carried(carried)) => self.carried(carried),
                Next::Message(_) => {}
                Next::Deserted => break,
            }
        }
        self.carry_out();
        let left = if self.on_exit == OnExit::Close {
            self.engine.grants()
        } else {
            0
        };
        let status = self.status();
        // Reports that still come have no reader: let go of the queue, so that nobody waits in it.
        drop(self.messages);
        self.runner.stop(end.since(clock::boot_now()));
        if let Some(records) = self.records {
            records.stop(|| metrics::render(&status));
        }
        report::stopped(left);
        left
    }

    /// Hands the engine's actions to the runner and its events to whoever listens.
    fn carry_out(&mut self) {
        // The command first: whoever reads our log may be slow.
        while let Some(action) = self.engine.poll_action() {
            self.runner.submit(action);
        }
        while let Some(event) = self.engine.poll_event() {
            self.happened(&event);
            if event.kind == EventKind::Open {
                report::sequences_left(&self.engine);
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        report::event(event);
        self.counts.event(event);
        let now = clock::boot_now();
        let time = clock::wall_now().before(now.since(event.at));
        self.memory.event(event, Some(time));
        let source = event
            .whence
            .and_then(|whence| self.sources.get(usize::from(whence.source)))
            .map(|source| &source.spec);
        if let Some(records) = &mut self.records {
            let doors = &self.rules.doors;
            records.knockd(event.kind, now, time, || knockd_log::lines(event, doors));
            records.event(event.kind, now, || {
                let file = source.map(ToString::to_string);
                let row = Row {
                    event,
                    time: Some(time),
                    file: file.as_deref(),
                };
                row.json().ok()
            });
        }
        (self.tell)(Told::Event(event, time, source));
    }

    fn source(&mut self, report: Report) {
        match report {
            Report::Lines(batch) => {
                self.lines(&batch);
                self.read(batch.read);
            }
            Report::Rejected { reason, count, .. } => {
                self.engine.handle_rejected_many(reason, count);
                self.rejections.tell(reason, clock::boot_now());
            }
            Report::Lost { source, count } => {
                self.engine.handle_gap();
                self.lost(source, Cause::Overrun, count);
            }
            Report::Ended { source } => {
                if let Some(followed) = self.sources.get_mut(usize::from(source)) {
                    report::ended(&followed.spec);
                    followed.ended = true;
                }
            }
            Report::Read { read, .. } => self.read(Some(read)),
            Report::Unproven { path, .. } => report::unproven(&path),
            Report::Overflowed { source, times } => {
                if let Some(followed) = self.sources.get_mut(usize::from(source)) {
                    followed.overflows += times;
                }
            }
            Report::Health { source, health } => {
                let Some(followed) = self.sources.get_mut(usize::from(source)) else {
                    return;
                };
                report::health(&followed.spec, &health);
                followed.health = Some(health);
            }
        }
    }

    /// Notes how far a file is read, now that all of it has been decided.
    fn read(&mut self, read: Option<source::Read>) {
        if let (Some(checkpoints), Some(read)) = (&mut self.checkpoints, read) {
            checkpoints.note(read, clock::boot_now());
        }
    }

    /// Counts what a source has lost, and tells of it once in a while.
    fn lost(&mut self, source: u16, cause: Cause, count: Option<u64>) {
        let Some(followed) = self.sources.get_mut(usize::from(source)) else {
            return;
        };
        followed.gaps.add(count);
        self.losses
            .tell(&followed.spec, cause, count, clock::boot_now());
    }

    fn lines(&mut self, batch: &Batch) {
        let received = Received {
            now: clock::boot_now(),
            awake: clock::monotonic_now(),
            wall: clock::wall_now(),
            late: batch.late,
        };
        self.calendar.set_not_after(received.wall);
        self.engine.handle_unix(received.now, received.wall);
        self.calibrate(batch, received);
        let lines = batch.bytes.split_inclusive(|&byte| byte == b'\n');
        let count = memchr::memchr_iter(b'\n', &batch.bytes).count() as u64;
        self.counts.lines(batch.source, count, received.now);
        for (line, number) in lines.zip(batch.first_line..) {
            let whence = Whence {
                source: batch.source,
                line: number,
            };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if let Err(reason) = self.line(line, whence, received) {
                self.rejections.tell(reason, received.now);
            }
        }
    }

    /// Lets a timeline that knows nothing yet look at the newest line first.
    fn calibrate(&mut self, batch: &Batch, received: Received) {
        let Some(Feed { reader, timeline }) = self.feeds.get_mut(usize::from(batch.source)) else {
            return;
        };
        let lines = batch.bytes.split(|&byte| byte == b'\n');
        for line in lines.rev().take(LOOKED_BACK) {
            let opened = reader.open(line);
            if let Ok(Some((record, _))) = reader.read(&opened) {
                timeline.calibrate(stamps(&record, &mut self.calendar), received);
                return;
            }
        }
    }

    fn line(&mut self, line: &[u8], whence: Whence, received: Received) -> Result<(), Reason> {
        let Some(Feed { reader, timeline }) = self.feeds.get_mut(usize::from(whence.source)) else {
            return Ok(()); // of a source that is not followed any more
        };
        let opened = reader.open(line);
        let read = reader.read(&opened);
        let read = read.inspect_err(|&reason| self.engine.handle_rejected(reason))?;
        let Some((record, packet)) = read else {
            if let Some(loss) = loss::read(line) {
                self.lost(whence.source, Cause::Said, loss.count);
            }
            return Ok(());
        };
        let stamps = stamps(&record, &mut self.calendar);
        let placed = timeline.place_live(stamps, received);
        let placed = placed.inspect_err(|&reason| {
            self.engine.handle_rejected(reason);
            let wall = Some(received.wall);
            self.memory.packet(packet.src, wall, whence, Err(reason));
        })?;
        self.counts
            .lag(whence.source, received.now.since(placed.at));
        if placed.rebooted {
            self.engine.handle_gap();
            self.reboots.tell(received.now);
        }
        let sighting = Sighting {
            packet,
            at: placed.at,
            uptime: record.uptime,
            whence,
        };
        let verdict = self.engine.handle_packet(received.now, &sighting);
        self.carry_out();
        let wall = Some(received.wall);
        self.memory.packet(packet.src, wall, whence, verdict);
        verdict.inspect(|()| self.counts.hit())
    }

    fn carried(&mut self, carried: Carried) {
        match carried {
            Carried::Finished {
                grant,
                command,
                outcome,
                ended,
            } => {
                let door = self.engine.door_of(grant).unwrap_or_default();
                report::finished(&door, Some(command), &ended);
                self.tell_knockd(knockd_log::finished(&door, &ended));
                if outcome == Outcome::Failed {
                    self.counts.failed(Some(command));
                }
                self.engine
                    .handle_finished(clock::boot_now(), grant, command, outcome);
            }
            Carried::Ran { door, ended, .. } => {
                report::finished(&door, None, &ended);
                self.tell_knockd(knockd_log::finished(&door, &ended));
                if ended.outcome() == Outcome::Failed {
                    self.counts.failed(None);
                }
            }
            Carried::NotSpent { door, why } => report::not_spent(&door, why),
            Carried::Would(invocation) => (self.tell)(Told::Would(&invocation.argv)),
            Carried::Degraded(trouble) => {
                self.counts.disk(Some(trouble.to_string()));
                report::disk(trouble);
            }
            Carried::Recovered => {
                self.counts.disk(None);
                report::recovered();
            }
        }
    }

    fn starting(&self) -> String {
        let sources: Vec<_> = self.sources.iter().map(|source| &source.spec).collect();
        knockd_log::starting(&sources)
    }

    fn tell_knockd(&mut self, line: impl IntoIterator<Item = String>) {
        if let Some(records) = &mut self.records {
            for line in line {
                records.knockd_line(&line, clock::wall_now());
            }
        }
    }

    /// Takes the rules anew, or leaves everything as it is and says why. Returns how many doors there
    /// are now.
    fn reload(&mut self) -> Result<usize, String> {
        systemd::reloading();
        if let Some(records) = &self.records {
            records.reopen();
        }
        let rules = (self.reload)().inspect_err(|why| report::not_reloaded(why));
        self.notify.reloaded();
        let rules = rules?;
        self.engine.handle_reload(rules.doors.clone());
        for (feed, source) in self.feeds.iter_mut().zip(&self.sources) {
            feed.reader = rules.reader.of(&source.spec);
            feed.timeline.set_max_age(rules.max_line_age);
        }
        let doors = rules.doors.len();
        report::reloaded(doors);
        self.rules = rules;
        Ok(doors)
    }
}

/// What a line says of its time, its header in UTC.
fn stamps<'a>(record: &Record<'a>, calendar: &mut Calendar) -> Stamps<'a> {
    Stamps {
        host: record.host,
        wall: record.stamp.and_then(|stamp| calendar.resolve(stamp)),
        uptime: record.uptime,
    }
}

/// The control socket; a daemon that cannot be asked works all the same.
fn answer_at(socket: &Socket, inbox: &Outlet) -> Option<Control> {
    Control::start(socket, inbox.clone())
        .inspect_err(|error| report::no_control(&socket.path, error))
        .ok()
}
