//! The start: what needs a right is opened first, then all rights are given up, then lines are read.
//!
//! In: a [`Plan`]. Out: a [`Daemon`] whose sources run. Up to the confinement there is one thread and
//! nothing has been read that anybody else could have written; from there on this process can do
//! nothing but read logs, write its own records and ask the runner.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoints::{Checkpoints, Keeper};
use super::control::{self, Control, Socket};
use super::follow::{Opened, Peers, open};
use super::hands::Hands;
use super::inbox::{Inbox, Message, Outlet};
use super::notices::Notify;
use super::records::{Files, Records};
use super::report::{Losses, Reboots, Rejections};
use super::status::Counts;
use super::{Daemon, Feed, Office, Plan, Rules, report};
use crate::calendar::{Calendar, Zone};
use crate::clock;
use crate::confine::{self, Needs};
use crate::engine::Engine;
use crate::engine::action::GrantId;
use crate::engine::detector::Limits;
use crate::engine::grant::SavedGrant;
use crate::engine::timeline::Timeline;
use crate::memory::{self, Memory};
use crate::privsep::Welcome;
use crate::signals;
use crate::source::{self, Refusal};
use crate::source_spec::SourceSpec;
use crate::systemd;

/// How much later than its stamp a line may arrive without its attempt being expired. journald holds
/// a single line back for half a second.
pub(super) const LATENESS: Duration = Duration::from_secs(1);
/// What tells the local time.
const ZONE: [&str; 2] = ["/etc/localtime", "/usr/share/zoneinfo"];

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// A source that cannot be followed.
    Source(SourceSpec, Refusal),
    /// Threads, signals, clocks.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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

impl Daemon {
    /// Starts it on `plan`.
    pub(super) fn start(plan: Plan, inbox: &Outlet, messages: Inbox) -> Result<Self, StartError> {
        let (mut hands, mut welcome) = match plan.office {
            Office::Dry => (Hands::dry(plan.reload, inbox)?, None),
            Office::Runner(link, welcome) => {
                let reload = plan.reload;
                (Hands::Runner { link, reload }, Some(welcome))
            }
        };
        let stdin = welcome.as_mut().and_then(|welcome| welcome.stdin.take());
        let peers = Peers {
            udp: &plan.udp_peers,
            relay: plan.relay,
        };
        let opened = open(plan.sources, peers, stdin)?;
        let bound = plan.control.as_ref().and_then(bound);
        let keeper = plan.checkpoints.as_deref().map(Keeper::open).transpose()?;
        let boot = clock::boot_id()?;
        let known = keeper.as_ref().map(|keeper| keeper.read(&boot));
        if let Some(Err(why)) = &known {
            report::from_the_ends(*why);
        }
        let files = source::file::Options {
            checkpoints: known.map(Result::unwrap_or_default),
            ..source::file::Options::default()
        };
        let confined = welcome.as_ref().map(|_| {
            let mut needs = needs(&opened, &plan.records);
            needs.write.extend(plan.checkpoints);
            confine::confine(&needs)
        });
        if let Some(confined) = &confined {
            report::confined(confined);
            (plan.confined)();
        }
        let signals = if confined.is_some() {
            // The runner has them.
            signals::ignore()?;
            None
        } else {
            let inbox = inbox.clone();
            let tell = move |signal| inbox.send(Message::Signal(signal)).is_ok();
            Some(signals::listen(tell)?)
        };
        hands.start(inbox)?;
        let sources = opened
            .into_iter()
            .zip(0..)
            .map(|(opened, number)| opened.follow(number, &files, hands.journals(), inbox));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let control = bound.and_then(|bound| {
            let answering = Control::start(bound, inbox.clone());
            answering.inspect_err(report::no_control).ok()
        });
        let now = clock::boot_now();
        let engine = engine(&plan.rules, welcome.as_deref());
        let host = rustix::system::uname();
        let feeds = sources.iter().map(|source| Feed {
            reader: plan.rules.reader.of(&source.spec),
            timeline: Timeline::new(plan.rules.max_line_age, host.nodename().to_bytes()),
        });
        let alive_every = match &welcome {
            Some(welcome) => welcome.alive_every,
            None => systemd::alive_every(),
        };
        report::started(plan.rules.doors.len(), sources.len());
        let records = Records::start(plan.records, now)?;
        let checkpoints = keeper
            .map(|keeper| Checkpoints::kept(keeper, boot))
            .transpose()?;
        hands.started();
        Ok(Self {
            engine,
            feeds: feeds.collect(),
            counts: Counts::new(now, sources.len()),
            calendar: Calendar::new(Zone::Local, clock::wall_now()),
            rules: plan.rules,
            notify: Notify::new(now, alive_every, hands.notify()),
            hands,
            messages,
            sources,
            on_exit: plan.on_exit,
            stop_timeout: plan.stop_timeout,
            rejections: Rejections::default(),
            losses: Losses::default(),
            reboots: Reboots::default(),
            tell: plan.tell,
            attempts_until: now,
            confined,
            restarts: welcome.map_or(0, |welcome| welcome.restarts),
            memory: Memory::new(memory::Limits::default()),
            records,
            checkpoints,
            control,
            awaiting: Vec::new(),
            signals,
        })
    }
}

/// The engine, with what is open already.
fn engine(rules: &Rules, welcome: Option<&Welcome>) -> Engine {
    let last_id = welcome.map_or(0, |welcome| welcome.last_id);
    let mut engine = Engine::new(rules.doors.clone(), LATENESS, Limits::default(), last_id);
    engine.set_knocker_prefix(rules.knocker_prefix);
    for grant in welcome.iter().flat_map(|welcome| &welcome.grants) {
        engine.restore(SavedGrant {
            id: GrantId(grant.id),
            door: grant.door.as_str().into(),
            src: grant.src,
            deadline: grant.deadline(),
            proven: grant.proven,
            rebooted: grant.rebooted,
        });
    }
    for (door, until) in welcome.iter().flat_map(|welcome| &welcome.used) {
        engine.restore_used(door.as_str().into(), *until);
    }
    for (door, src, at, last) in welcome.iter().flat_map(|welcome| &welcome.answered) {
        engine.restore_answer(&door.as_str().into(), *src, *at, *last);
    }
    report::sequences_left(&engine);
    engine
}

/// The control socket; a daemon that cannot be asked works all the same.
fn bound(socket: &Socket) -> Option<control::Bound> {
    control::bound(socket).inspect_err(report::no_control).ok()
}

/// What is still needed once the sources are open.
fn needs(opened: &[Opened], records: &Files) -> Needs {
    let mut needs = Needs {
        read: ZONE.map(PathBuf::from).into(),
        ..Needs::default()
    };
    for opened in opened {
        match opened.spec() {
            SourceSpec::File(path) => {
                needs.read.extend(directories_of(path));
                // Another user's syslog makes the next file as it made this one.
                needs.read_any_mode = true;
            }
            SourceSpec::Files(pattern) => {
                needs
                    .read
                    .extend(directories_of(&pattern.directory().join("*")));
                needs.read_any_mode = true;
            }
            _ => {}
        }
    }
    let records = [&records.event_log, &records.knockd_log, &records.metrics];
    let records = records
        .into_iter()
        .flatten()
        .filter_map(|path| path.parent());
    // Not what is above one that is missing: it could be everything.
    needs.write.extend(records.map(Path::to_owned));
    needs
}

/// The directories in which a followed file may be: that of its name, and where a link leads.
fn directories_of(path: &Path) -> Vec<PathBuf> {
    let target = path.canonicalize().ok();
    let files = [Some(path), target.as_deref()].into_iter().flatten();
    let directories = files.filter_map(Path::parent).map(nearest);
    // To read all there is would be no confinement: such a file is followed from the next start on.
    directories.filter(|path| path != Path::new("/")).collect()
}

/// `directory`, or the nearest above it that is there.
fn nearest(directory: &Path) -> PathBuf {
    let there = directory.ancestors().find(|path| path.is_dir());
    match there {
        Some(path) if path != Path::new("") => path.to_owned(),
        _ => PathBuf::from("."),
    }
}
