//! The start: what needs a right is opened first, then all rights are given up, then lines are read.
//!
//! In: a [`Plan`]. Out: a [`DetectorLoop`] whose sources run. Until the confinement there is one thread, and no text
//! of strangers has been read. After it, this process can only read logs, write its own records and report to the
//! monitor.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::alive::Alive;
use super::checkpoints::{Checkpoints, Keeper};
use super::follow::{Followed, Means, Opened, Peers, open};
use super::inbox::{Inbox, Message, Outlet};
use super::records::Records;
use super::report::{Losses, Reboots, Rejections};
use super::status::Counts;
use super::{DetectorLoop, Feed, Plan, Rules, report};
use crate::calendar::{Calendar, Zone};
use crate::clock;
use crate::confine::{self, Needs};
use crate::engine::attempts::Limits;
use crate::engine::detection::Detection;
use crate::engine::timeline::Timeline;
use crate::memory::{self, Memory};
use crate::privsep::{Record, ToDetector, ToMonitor, Welcome};
use crate::signals;
use crate::source::{self, Refusal};
use crate::source_spec::SourceSpec;

/// How much later than its stamp a line may arrive without its attempt being expired. journald holds
/// a single line back for half a second.
pub(super) const LATENESS: Duration = Duration::from_secs(1);
/// What tells the local time.
const ZONE: [&str; 2] = ["/etc/localtime", "/usr/share/zoneinfo"];

/// Why the daemon did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A source that cannot be followed.
    #[error("cannot follow '{0}': {1}")]
    Source(SourceSpec, Refusal),
    /// Threads, signals, clocks.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl DetectorLoop {
    /// Starts it on `plan`.
    pub(super) fn start(plan: Plan, inbox: &Outlet, messages: Inbox) -> Result<Self, StartError> {
        let (link, mut welcome) = plan.monitor;
        let peers = Peers {
            udp: &plan.udp_peers,
            relay: plan.relay,
        };
        let opened = open(plan.sources, peers, welcome.stdin.take())?;
        let (mut records, mut checkpoints) = (Vec::new(), Vec::new());
        for (record, file) in welcome.records.drain(..) {
            if record == Record::Checkpoint {
                checkpoints.extend(file);
            } else {
                records.push((record, file));
            }
        }
        let mut keeper = checkpoints.try_into().ok().map(Keeper::new);
        let boot = clock::boot_id()?;
        let known = keeper.as_mut().map(|keeper| keeper.read(&boot));
        if let Some(Err(why)) = &known {
            report::from_the_ends(*why);
        }
        let files = source::file::Options {
            checkpoints: known.map(Result::unwrap_or_default),
            ..source::file::Options::default()
        };
        let confined = confine::confine(&needs(&opened));
        report::confined(&confined);
        (plan.confined)();
        // The monitor has them.
        signals::ignore()?;
        let outlet = inbox.clone();
        link.start(move |heard| {
            // There is no listener only after we have stopped.
            let _ = outlet.send(Message::Heard(heard));
        })?;
        let journals = link.journals();
        let sources = opened.into_iter().zip(0..).map(|(opened, number)| {
            let means = Means {
                files: files.clone(),
                journals: journals.clone(),
            };
            opened.follow(number, means, inbox)
        });
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let now = clock::boot_now();
        let alive_every = welcome.alive_every;
        let mut detection = detection(&plan.rules, welcome);
        let feeds = feeds(&sources, &plan.rules, &mut detection);
        report::started(plan.rules.doors.len(), sources.len());
        let checkpoints = keeper
            .map(|keeper| Checkpoints::kept(keeper, boot))
            .transpose()?;
        let records = Records::start(records, Some(&link))?;
        link.say(&ToMonitor::Following);
        Ok(Self {
            detection,
            link,
            feeds,
            counts: Counts::new(sources.len()),
            calendar: Calendar::new(Zone::Local, clock::wall_now()),
            rules: plan.rules,
            alive: Alive::new(now, alive_every),
            messages,
            sources,
            rejections: Rejections::default(),
            losses: Losses::default(),
            reboots: Reboots::default(),
            reload: plan.reload,
            tell: plan.tell,
            attempts_until: now,
            confined,
            memory: Memory::new(memory::Limits::default()),
            records,
            checkpoints,
            is_stopping: false,
        })
    }
}

/// How each source is taken.
fn feeds(sources: &[Followed], rules: &Rules, detection: &mut Detection) -> Vec<Feed> {
    let host = rustix::system::uname();
    let feeds = sources.iter().zip(0..).map(|(source, number)| {
        let feed = rules.readers.of(&source.spec, false);
        detection.attempts.set_audience(number, feed.doors);
        Feed {
            reader: feed.reader,
            is_own: rules.readers.is_own(&source.spec),
            timeline: Timeline::new(rules.max_line_age, host.nodename().to_bytes()),
        }
    });
    feeds.collect()
}

/// The detection, with what it has to know of earlier runs.
fn detection(rules: &Rules, welcome: Welcome) -> Detection {
    let mut detection = Detection::new(rules.doors.clone(), LATENESS, Limits::default());
    detection.attempts.set_knocker_prefix(rules.knocker_prefix);
    for known in welcome.known {
        match known {
            ToDetector::Open(door, src) => detection.restore_open(door, src),
            ToDetector::Used(door, until) => detection.attempts.restore_used(door, until),
            ToDetector::Answered {
                door,
                src,
                at,
                last,
            } => detection.attempts.restore_answer(&door, src, at, last),
            _ => {}
        }
    }
    report::sequences_left(&detection);
    detection
}

/// What is still needed once the sources are open.
fn needs(opened: &[Opened]) -> Needs {
    let mut needs = Needs {
        read: ZONE.map(PathBuf::from).into(),
        ..Needs::default()
    };
    for opened in opened {
        match &opened.spec {
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
