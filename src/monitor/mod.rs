//! The monitor: the process that may act. It holds the grants. It reads only messages of the detector and requests of
//! administrators.
//!
//! In: a [`Plan`]. Out: commands run, grants on disk, requests answered, until a signal says stop. It starts the
//! detector and is the process that systemd and signals know. One loop: wait for a descriptor or a deadline (`poll`),
//! take what came (`heard`, `requests`), carry it out (`executor`). It never waits for the detector, a client or a
//! command: what is open is closed when due, with or without them.

mod command;
mod control;
mod detector;
mod ended;
mod executor;
mod firewall;
mod fleet;
mod heard;
mod jumps;
pub mod ledger;
mod list;
mod nftables;
mod notifier;
mod orphans;
mod plan;
mod poll;
mod queue;
mod records;
mod report;
mod requests;
pub mod session;
mod sockets;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;

pub use self::command::locate;
use self::control::Control;
pub use self::control::Socket;
use self::detector::Detector;
pub use self::detector::Start;
pub use self::ended::{Ended, HEAD, How, NotStarted};
pub use self::executor::{DryRun, Options};
use self::executor::{Executor, Report};
use self::firewall::Firewall;
use self::fleet::Member;
pub use self::fleet::Membership;
use self::heard::{Running, WARNING_INTERVAL};
use self::jumps::Jumps;
use self::ledger::{Boot, Ledger, Opened};
use self::notifier::Notifier;
pub use self::notifier::Notify;
pub use self::plan::{Configuration, End, Plan, Settings, StartError};
use self::poll::Poll;
pub use self::records::Files;
use self::requests::Requests;
use crate::clock;
use crate::engine::door::Door;
use crate::engine::event::Occasion;
use crate::engine::finding::Told;
use crate::engine::grant::{Grants, Outcome, Phase, Task};
use crate::engine::time::{Pause, Time};
use crate::privsep::{Broken, ToDetector, VERSION, pieces};
use crate::signals::{Signal, Signals};
use crate::systemd;

/// How long to wait before the detector is started again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// A detector that has lived for this long was healthy.
const SETTLED: Duration = Duration::from_secs(60);
/// How much longer than commands may take at the end, killing them may.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// Runs `plan` until a signal says stop.
pub fn run(plan: Plan) -> Result<End, StartError> {
    let mut monitor = Monitor::start(plan)?;
    monitor.work()?;
    let never_followed = monitor.never_followed.take();
    let left = monitor.stop();
    Ok(match never_followed {
        Some(NeverFollowed(how)) => End::NotStarted(how.and_then(|how| how.code())),
        None => End::Stopped { left },
    })
}

/// Closes the doors in the ledger in `dir` that are due, once each, and waits at most `within`: a start that cannot
/// follow leaves no door open. Does nothing where there is no ledger, where it is not to be trusted, or where another
/// process has it.
pub fn close_due(dir: &Path, within: Duration) {
    if !dir.is_dir() {
        return;
    }
    let opened = Boot::read().map(|boot| Ledger::open(dir, &boot));
    let Ok(Ok(opened)) = opened else {
        return;
    };
    opened.notice.iter().for_each(report::notice);
    let started = Executor::new(Options::default(), Some(opened.ledger), opened.grants, None);
    let (Ok(mut executor), Ok(mut poll)) = (started, Poll::new()) else {
        return;
    };
    let end = clock::boot_now().after(within);
    loop {
        let now = clock::boot_now();
        for report in executor.turn(now) {
            if let Report::Ended {
                task, door, ended, ..
            } = report
            {
                report::ended(&door, &task, &ended);
                if ended.outcome() == Outcome::Done {
                    report::closed_unattended(&door);
                }
            }
        }
        if executor.is_idle() || now >= end {
            break;
        }
        let due = executor.due().into_iter().chain([end]).min();
        let descriptors = executor.descriptors().map(|fd| (fd, PollFlags::IN));
        if poll.wait(descriptors, due).is_err() {
            break;
        }
    }
    executor.finish();
}

/// The first detector has ended before it followed, with this status.
struct NeverFollowed(Option<ExitStatus>);

/// The end, once it has begun.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// The latest that commands may take.
    until: Time,
    /// Whether what is open is closed.
    closes: bool,
    is_cut_short: bool,
    /// Whether the last metrics have been asked for.
    is_counted: bool,
}

struct Monitor {
    executor: Executor,
    notifier: Notifier,
    doors: Vec<Arc<Door>>,
    detector: Option<Detector>,
    /// The first message to the detector.
    text: String,
    plan: Settings,
    /// How often a detector has been started, and when it was last.
    starts: u32,
    since: Time,
    /// Whether this detector, or an earlier one, has followed, and whether systemd knows.
    has_followed: bool,
    never_followed: Option<NeverFollowed>,
    is_ready: bool,
    pause: Duration,
    /// When it is started again.
    again: Option<Time>,
    /// The journalctls that run for it.
    running: Vec<Running>,
    /// Findings that were refused.
    refusals: Pause,
    requests: Requests,
    firewall: Firewall,
    needs_rules: bool,
    jumps: Jumps,
    control: Option<Control>,
    fleet: Option<Member>,
    signals: Signals,
    poll: Poll,
    alive_every: Option<Duration>,
    end: Option<Ending>,
}

impl Monitor {
    fn start(plan: Plan) -> Result<Self, StartError> {
        let signals = Signals::take()?;
        // It starts while the ledger is being read, and waits for its first message.
        let first = Detector::start(&plan.settings.detector)?;
        let (ledger, grants) = match &plan.state_dir {
            None => (None, Grants::default()),
            Some(dir) => {
                let opened = Ledger::open(dir, &Boot::read()?).map_err(StartError::State)?;
                let Opened {
                    ledger,
                    grants,
                    notice,
                } = opened;
                notice.iter().for_each(report::notice);
                (Some(ledger), grants)
            }
        };
        report::restored(grants.len());
        let control = plan.control.as_ref().map(control::listen_at).transpose();
        let control = control.inspect_err(report::no_control).ok().flatten();
        let fleet = plan.configuration.fleet.map(Member::start);
        let mut monitor = Self {
            executor: Executor::new(plan.commands, ledger, grants, plan.dry_run)?,
            notifier: Notifier::default(),
            doors: plan.configuration.doors,
            detector: None,
            text: plan.configuration.text,
            firewall: Firewall::new(plan.firewall),
            needs_rules: plan.configuration.needs_rules,
            jumps: Jumps::new(clock::wall_now(), clock::boot_now()),
            requests: Requests::new(clock::boot_now(), plan.settings.records.metrics.clone()),
            plan: plan.settings,
            starts: 1,
            since: clock::boot_now(),
            has_followed: false,
            never_followed: None,
            is_ready: false,
            pause: FIRST_PAUSE,
            again: None,
            running: Vec::new(),
            refusals: Pause::new(clock::boot_now(), WARNING_INTERVAL),
            control,
            fleet: fleet
                .transpose()
                .inspect_err(report::no_fleet)
                .ok()
                .flatten(),
            signals,
            poll: Poll::new()?,
            alive_every: systemd::alive_every(),
            end: None,
        };
        monitor.notifier.set(plan.configuration.notify);
        monitor.welcome(first)?;
        Ok(monitor)
    }

    /// Until all is over.
    fn work(&mut self) -> io::Result<()> {
        loop {
            let now = clock::boot_now();
            self.do_what_is_due(now);
            self.carry_out(now);
            self.notifier.turn();
            if self.is_over(now) && self.has_counted() {
                return Ok(());
            }
            self.wait()?;
            for signal in self.signals.pending() {
                match signal {
                    Signal::Stop => self.begin_end(),
                    Signal::Reload => self.reload(),
                }
            }
            if let Some(broken) = self.hear() {
                self.lost(broken);
            }
            self.hear_agent();
            let requests = self.control.as_mut().map(Control::turn).unwrap_or_default();
            for (client, request) in requests {
                self.asked(client, request);
            }
        }
    }

    /// Carries out what is decided of the grants, and tells what came of it.
    fn carry_out(&mut self, now: Time) {
        for report in self.executor.turn(now) {
            self.report(report);
        }
        while let Some(told) = self.executor.grants.poll_told() {
            self.pass_on(told);
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let now = clock::boot_now();
        let alive = self.alive_every.filter(|_| self.detector.is_none());
        let dues = [
            self.executor.due(),
            self.notifier.due(),
            self.control.as_ref().and_then(Control::due),
            self.fleet.as_ref().and_then(Member::due),
            self.requests.due(),
            self.firewall.due(),
            self.again,
            self.end.map(|end| {
                let margin = if end.is_cut_short {
                    KILL_MARGIN
                } else {
                    Duration::ZERO
                };
                end.until.after(margin)
            }),
            alive.map(|every| now.after(every)),
        ];
        let signals = self.signals.descriptors();
        let signals = signals.into_iter().map(|fd| (fd, PollFlags::IN));
        let detector = self.detector.iter().map(|detector| {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, detector.has_unread());
            (detector.descriptor(), flags)
        });
        let commands = self.executor.descriptors();
        let commands = commands.chain(self.notifier.descriptors());
        let commands = commands.map(|fd| (fd, PollFlags::IN));
        let control = self.control.iter().flat_map(Control::descriptors);
        let look = self.firewall.descriptor();
        let look = look.into_iter().map(|fd| (fd, PollFlags::IN));
        let fleet = self.fleet.iter().flat_map(Member::descriptors);
        let descriptors = signals.chain(detector).chain(commands).chain(control);
        let descriptors = descriptors.chain(look).chain(fleet);
        self.poll
            .wait(descriptors, dues.into_iter().flatten().min())
    }

    fn do_what_is_due(&mut self, now: Time) {
        if let Some(jump) = self.jumps.look(clock::wall_now(), now) {
            report::jumped(jump);
        }
        if self.detector.is_none() {
            // Its loop proves that we are not stuck; now it is ours.
            systemd::alive();
        }
        if self.again.is_some_and(|again| now >= again) && self.end.is_none() {
            self.again = None;
            self.starts = self.starts.saturating_add(1);
            self.since = now;
            let started = Detector::start(&self.plan.detector);
            if let Err(error) = started.and_then(|detector| self.welcome(detector)) {
                report::not_started(&error);
                self.try_again();
            }
        }
        self.handle_claims(now);
        self.handle_requests(now);
        if self.firewall.turn(now, &self.text) {
            self.notifier.tell(Occasion::FirewallFlushed, Vec::new());
        }
    }

    /// Looks at the firewall's rules, now and in intervals, if any belong to the doors.
    fn look_at_firewall(&mut self) {
        if self.needs_rules {
            self.firewall.look_at(clock::boot_now());
        } else {
            self.firewall.rest();
        }
    }

    /// Whether nothing is left to be done, or no time to do it in.
    fn is_over(&mut self, now: Time) -> bool {
        let Some(end) = &mut self.end else {
            return false;
        };
        let is_idle = self.executor.is_idle() && self.notifier.is_idle();
        if is_idle && (!end.closes || self.executor.grants.is_empty()) {
            return true;
        }
        if now >= end.until && !end.is_cut_short {
            end.is_cut_short = true;
            self.executor.cut_short();
            self.notifier.cut_short();
        }
        let is_idle = self.executor.is_idle() && self.notifier.is_idle();
        end.is_cut_short && (is_idle || now >= end.until.after(KILL_MARGIN))
    }

    /// Whether the last metrics are written; they are asked for once.
    fn has_counted(&mut self) -> bool {
        let end = self.end.as_mut().filter(|_| self.has_followed);
        if end.is_some_and(|end| !std::mem::replace(&mut end.is_counted, true)) {
            self.ask_for_metrics();
        }
        !self.requests.awaits_metrics()
    }

    /// Reads no more lines, and closes what is to be closed.
    fn begin_end(&mut self) {
        if self.end.is_some() {
            return;
        }
        systemd::stopping();
        let now = clock::boot_now();
        let closes = self.plan.close_at_end;
        report::stopping(self.executor.grants.len());
        self.end = Some(Ending {
            until: now.after(self.plan.stop_timeout),
            closes,
            is_cut_short: false,
            is_counted: false,
        });
        self.tell(&ToDetector::Stop, None);
        if closes {
            self.executor.grants.close_all(None, now);
        }
    }

    /// Reads the configuration again. The doors are taken at once, and the detector says when it has.
    fn reload(&mut self) {
        systemd::reloading();
        for (record, file) in self.plan.records.opened() {
            self.tell(&ToDetector::Record(record), file);
        }
        if let Err(why) = (self.plan.reload)().and_then(|read| self.take(read)) {
            report::not_reloaded(&why);
            self.not_reloaded(&why);
        }
    }

    /// Takes another configuration, or says what keeps it from that; then nothing has changed.
    fn take(&mut self, configuration: Configuration) -> Result<(), String> {
        let Configuration {
            doors,
            fleet,
            notify,
            needs_rules,
            text,
        } = configuration;
        self.reload_fleet(fleet)
            .map_err(|error| format!("no socket for logknock-fleet: {error}"))?;
        self.doors = doors;
        self.greet_again();
        self.notifier.set(notify);
        self.text = text;
        self.needs_rules = needs_rules;
        self.look_at_firewall();
        if let Some(detector) = &mut self.detector {
            detector.allow(self.text.len());
        }
        let rules: Vec<_> = pieces(&self.text).map(ToDetector::Rules).collect();
        for piece in &rules {
            self.tell(piece, None);
        }
        // A detector says so itself, once it has taken them.
        if self.detector.is_none() {
            report::reloaded(self.doors.len());
            self.reloaded();
        }
        Ok(())
    }

    /// Tells a detector that has just been started all that it has to know.
    fn welcome(&mut self, mut detector: Detector) -> io::Result<()> {
        let stdin = self.plan.stdin.as_ref();
        let stdin = stdin.map(|stdin| stdin.as_fd().try_clone_to_owned());
        let stdin = stdin.transpose()?;
        detector.allow(self.text.len());
        let hello = ToDetector::Hello {
            version: VERSION,
            alive_every: self.alive_every.map(millis),
            stdin: stdin.is_some(),
        };
        let grants = &self.executor.grants;
        let open = grants
            .iter()
            .filter(|(_, grant)| grant.phase == Phase::Open);
        let open = open.map(|(_, grant)| ToDetector::Open(Arc::clone(&grant.door), grant.src));
        let used = grants.used();
        let used = used.map(|(door, until)| ToDetector::Used(Arc::clone(door), until));
        let answered = grants.answers().iter();
        let answered = answered.map(|(door, src, at, last)| ToDetector::Answered {
            door: Arc::clone(door),
            src,
            at,
            last,
        });
        let mut records = self.plan.records.opened();
        records.extend(self.plan.records.checkpoints());
        let records = records.into_iter();
        let records = records.map(|(record, file)| (ToDetector::Record(record), file));
        let known = open.chain(used).chain(answered);
        let rules = pieces(&self.text).map(ToDetector::Rules);
        let rest = known.chain(rules).map(|message| (message, None));
        let mut first = std::iter::once((hello, stdin)).chain(records).chain(rest);
        // A detector that has ended reports it when its socket is read.
        let _ = first.try_for_each(|(message, along)| detector.tell(&message, along));
        self.detector = Some(detector);
        Ok(())
    }

    /// The detector is gone, or is to go.
    fn lost(&mut self, why: Broken) {
        let how = self.detector.take().and_then(Detector::end);
        self.running.clear();
        sockets::remove(&self.plan.sockets);
        self.unanswered();
        if self.end.is_some() {
            return;
        }
        let now = clock::boot_now();
        if !self.has_followed {
            // Perhaps none will for long: what an earlier run has left open is not left for longer than it
            // was to be.
            self.end = Some(Ending {
                until: now.after(self.plan.stop_timeout),
                closes: false,
                is_cut_short: false,
                is_counted: false,
            });
            self.never_followed = Some(NeverFollowed(how));
            return;
        }
        if now.since(self.since) > SETTLED {
            self.pause = FIRST_PAUSE;
        }
        report::lost(why, how, self.executor.grants.len(), self.pause);
        self.try_again();
    }

    fn try_again(&mut self) {
        self.again = Some(clock::boot_now().after(self.pause));
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    fn tell(&mut self, message: &ToDetector, along: Option<OwnedFd>) {
        let Some(detector) = &mut self.detector else {
            return;
        };
        // A detector that has ended reports it when its socket is read.
        if detector.tell(message, along) == Err(Broken::Deaf) {
            self.lost(Broken::Deaf);
        }
    }

    /// Tells what became of a grant.
    fn pass_on(&mut self, told: Told) {
        match &told {
            Told::Event(event) => self.tell_fleet(event),
            Told::Opened(door, src) => {
                self.notify_of(Occasion::Open, door, *src);
                self.publish(door, *src);
            }
            Told::GaveUp(door, _) => report::gave_up(door),
        }
        self.tell(&ToDetector::Told(told), None);
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Ended {
                task,
                door,
                src,
                ended,
            } => {
                report::ended(&door, &task, &ended);
                let message = ToDetector::Ended(Arc::clone(&door), ended.status());
                self.tell(&message, None);
                match task {
                    Task::Close(id) if ended.outcome() != Outcome::Done => {
                        let grant = self.executor.grants.get(id);
                        // Once, however often it is tried.
                        if grant.is_none_or(|grant| grant.failed <= 1) {
                            self.notify_of(Occasion::CloseFailed, &door, src);
                        }
                    }
                    // With `opens`, only the kernel's timeout was renewed.
                    Task::Run(_) if ended.outcome() == Outcome::Done => {
                        let holds = |door: Arc<Door>| door.grant.refresh.of(src).is_some();
                        if !self.door(&door).is_some_and(holds) {
                            self.notify_of(Occasion::Open, &door, src);
                        }
                    }
                    _ => {}
                }
                self.command_ended(&task, &door, src, &ended);
            }
            Report::Degraded(trouble) => report::disk(trouble),
            Report::Recovered => report::recovered(),
        }
    }

    fn notify_of(&mut self, occasion: Occasion, door: &str, src: IpAddr) {
        let about = vec![("DOOR", door.to_owned()), ("IP", src.to_string())];
        self.notifier.tell(occasion, about);
    }

    /// Ends the detector, and says how many doors are left open though they were to be closed.
    fn stop(mut self) -> usize {
        let is_asked = self.has_followed && self.end.is_some_and(|end| end.closes);
        let left = if is_asked {
            self.executor.grants.len()
        } else {
            0
        };
        self.tell(&ToDetector::End, None);
        if let Some(detector) = self.detector.take() {
            detector.let_end();
        }
        if self.has_followed {
            sockets::remove(&self.plan.sockets);
        }
        self.executor.finish();
        if self.has_followed {
            report::stopped(left);
        }
        left
    }

    fn door(&self, name: &str) -> Option<Arc<Door>> {
        let mut doors = self.doors.iter();
        doors.find(|door| *door.name == *name).map(Arc::clone)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
