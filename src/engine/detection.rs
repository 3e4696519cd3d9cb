//! Packets → findings: the half of the engine that reads lines that strangers cause.
//!
//! In: packets with their place on the engine's clock, and notifications of the grants. Out: [`Finding`]s, for the
//! holder of the grants, and [`Event`]s of attempts. It names no grant, and opens and closes nothing.
//!
//! It knows open doors only from notifications: a `once` door is entered by the first connection after its open
//! command has succeeded.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Progress;
use super::attempts::{AttemptTable, Detected, Limits};
use super::door::{Door, Scope};
use super::event::{Event, EventKind, View, Whence};
use super::finding::{Finding, Knocked, Told};
use super::knock::{Hit, Logged};
use super::packet::Packet;
use super::reason::{Reason, Tally};
use super::sequence::Step;
use super::time::{Time, UnixClock};

/// A packet with its place on the engine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// When it was seen.
    pub at: Time,
    /// The kernel's stamp of it.
    pub uptime: Option<Time>,
    /// What its line says of when it was logged, for what an earlier run has answered.
    pub logged: Logged,
    /// The line it was read from.
    pub whence: Whence,
}

/// From packets to findings.
#[derive(Debug)]
pub struct Detection {
    /// The attempts of every address at every door.
    pub attempts: AttemptTable,
    /// What is open, and since when its open command is known to have succeeded.
    open: HashMap<(Arc<str>, IpAddr), Option<Time>>,
    findings: VecDeque<Finding>,
    events: VecDeque<Event>,
    rejected: Tally,
    /// The latest time handed in: the engine's clock does not run backwards.
    now: Time,
}

impl Detection {
    /// Creates a detection for `doors`. A line may come up to `lateness` after its stamp (zero if lines come on their
    /// own time).
    pub fn new(doors: Vec<Arc<Door>>, lateness: Duration, limits: Limits) -> Self {
        Self {
            attempts: AttemptTable::new(doors, lateness, limits),
            open: HashMap::new(),
            findings: VecDeque::new(),
            events: VecDeque::new(),
            rejected: Tally::default(),
            now: Time::from_nanos(i64::MIN),
        }
    }

    /// Sets the Unix time: it is `unix` at `now`. Doors whose sequences are derived from the time need it; the caller
    /// repeats it whenever the two clocks may have drifted apart.
    pub fn handle_unix(&mut self, now: Time, unix: Time) {
        self.attempts.set_unix(UnixClock::new(now, unix));
    }

    /// Takes a logged packet. Timeouts before it are handled first.
    pub fn handle_packet(&mut self, now: Time, sighting: &Sighting<'_>) -> Result<(), Reason> {
        self.handle_timeout(now);
        let Sighting {
            packet,
            at,
            uptime,
            logged,
            whence,
        } = sighting;
        let counted = Hit::new(packet, *at, *uptime, whence.source, *logged)
            .and_then(|hit| self.handle_hit(&hit, *whence));
        if let Err(reason) = counted {
            self.rejected.add(reason);
        }
        counted
    }

    /// How each door with this port takes the packet, which a line of `source` reported at `at`; or the port, if no
    /// door has it.
    pub fn views(&self, packet: &Packet<'_>, at: Time, source: u16) -> (Vec<View>, Option<Step>) {
        let hit = Hit::new(packet, at, None, source, Logged::default());
        let Ok(hit) = hit else {
            return (Vec::new(), None);
        };
        let views = self.attempts.views(&hit);
        let is_secret = !views.is_empty();
        (views, (!is_secret).then_some(hit.step))
    }

    /// Counts a line that did not give a packet.
    pub fn handle_rejected(&mut self, reason: Reason) {
        self.rejected.add(reason);
    }

    /// Counts lines that never came here at all.
    pub fn handle_rejected_many(&mut self, reason: Reason, count: u64) {
        self.rejected.add_many(reason, count);
    }

    /// Advances the time: attempts that ended before `now` are reported.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        let Self {
            attempts,
            findings,
            events,
            now,
            ..
        } = self;
        attempts.handle_timeout(*now, &mut |detected| {
            events.extend(event_of(&detected, None));
            findings.extend(knocked(&detected, None));
        });
    }

    /// Takes a notification about a grant at `now`.
    pub fn handle_told(&mut self, told: &Told, now: Time) {
        match told {
            Told::Event(event) => {
                let pair = (Arc::clone(&event.door), event.src);
                match event.kind {
                    EventKind::Open if self.is_held(&event.door, event.src) => {
                        self.open.entry(pair).or_insert(None);
                    }
                    EventKind::Close => {
                        self.open.remove(&pair);
                    }
                    // What is known to be open stays so.
                    EventKind::Refused { .. } if self.open.get(&pair) == Some(&None) => {
                        self.open.remove(&pair);
                    }
                    _ => {}
                }
            }
            Told::Opened(door, src) => {
                self.open.insert((Arc::clone(door), *src), Some(now));
            }
            Told::GaveUp(..) => {}
        }
    }

    /// Takes over that `door` is open for `src` since before this process began.
    pub fn restore_open(&mut self, door: Arc<str>, src: IpAddr) {
        let always = Time::from_nanos(i64::MIN);
        self.open.insert((door, src), Some(always));
    }

    /// How many sequences are left in each door's list.
    pub fn left(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let book = self.attempts.book();
        let doors = self.attempts.doors().iter();
        doors.filter_map(|door| Some((&door.name, book.left(&door.name, door.rule.origin()?)?)))
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Time> {
        // A window includes its last moment, so it is over one step later.
        let window = self.attempts.poll_timeout();
        window.map(|last| last.after(Duration::from_nanos(1)))
    }

    /// The next finding.
    pub fn poll_finding(&mut self) -> Option<Finding> {
        self.findings.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Appends notifications of the grants to the events.
    pub fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// How many packets were rejected, by reason.
    pub fn rejected(&self) -> &Tally {
        &self.rejected
    }

    /// The doors.
    pub fn doors(&self) -> &[Arc<Door>] {
        self.attempts.doors()
    }

    /// The door called `name`.
    pub fn door(&self, name: &str) -> Option<Arc<Door>> {
        let mut doors = self.doors().iter();
        doors.find(|door| *door.name == *name).map(Arc::clone)
    }

    /// How long an attempt can last at any door.
    pub fn longest_window(&self) -> Duration {
        let windows = self.doors().iter().map(|door| door.rule.window());
        windows.max().unwrap_or_default()
    }

    /// How many doors are open, as far as the detection knows.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether `door` holds something open for `src` once it is knocked at.
    fn is_held(&self, door: &str, src: IpAddr) -> bool {
        let door = self.door(door);
        door.is_some_and(|door| door.hold(src).is_some())
    }

    fn handle_hit(&mut self, hit: &Hit<'_>, whence: Whence) -> Result<(), Reason> {
        let Self {
            attempts,
            open,
            findings,
            events,
            ..
        } = self;
        for door in attempts.doors() {
            if attempts.hears(hit.source, door) && is_first_connection(door, hit, open) {
                // Reported once: the next connection differs only when the door is open again.
                open.insert((Arc::clone(&door.name), hit.src), None);
                findings.push_back(Finding::Entered {
                    door: Arc::clone(&door.name),
                    src: hit.src,
                    whence,
                });
            }
        }
        let prefix = attempts.knocker_prefix().of_counts();
        attempts.handle_hit(hit, &mut |detected| {
            events.extend(event_of(&detected, Some((whence, hit.at))));
            if let Progress::TooManyFailed { until, .. } = detected.progress {
                let door = Arc::clone(&detected.door.name);
                findings.push_back(Finding::CodesFailed { door, until });
            }
            let knocked = knocked(&detected, Some(whence));
            if knocked.is_some() && detected.door.hold(hit.src).is_some() {
                // The open is reported later, and a hit too many may come before.
                let pair = (Arc::clone(&detected.door.name), hit.src);
                open.entry(pair).or_insert(None);
            }
            findings.extend(knocked);
            if detected.progress == Progress::Overcount {
                let who = prefix.of(detected.src);
                let theirs = open
                    .keys()
                    .filter(|(name, src)| *name == detected.door.name && prefix.of(*src) == who);
                findings.extend(theirs.map(|(door, src)| Finding::Overcount {
                    door: Arc::clone(door),
                    src: *src,
                    whence: Some(whence),
                }));
            }
        })
    }
}

/// What to tell of an attempt; nothing of a completed one, whose grant tells. What was over before
/// the hit has no line: time did it.
fn event_of(detected: &Detected, cause: Option<(Whence, Time)>) -> Option<Event> {
    let of = detected.door.rule.knocks();
    let (kind, at) = match detected.progress {
        Progress::Stage { stage, at } => (EventKind::Stage { stage, of }, at),
        Progress::Reset {
            stage, reason, at, ..
        } => (EventKind::Reset { stage, of, reason }, at),
        Progress::LockedOut { at } => (EventKind::LockedOut, at),
        Progress::Refused { reason, at } => (EventKind::Refused { reason }, at),
        Progress::TooManyFailed { at, .. } => (EventKind::CodesRefused, at),
        Progress::Completed { .. } | Progress::Overcount => return None,
    };
    let whence = cause
        .filter(|&(_, hit)| at >= hit)
        .map(|(whence, _)| whence);
    Some(Event {
        at,
        door: Arc::clone(&detected.door.name),
        src: detected.src,
        kind,
        whence,
    })
}

/// What opens a door, where the knock was completed.
fn knocked(detected: &Detected, whence: Option<Whence>) -> Option<Finding> {
    let Detected {
        door,
        progress: Progress::Completed { number, until },
        knock: Some(knock),
        ..
    } = detected
    else {
        return None;
    };
    Some(Finding::Knocked(Knocked {
        used: number.and_then(|number| door.rule.origin()?.used(number)),
        until: *until,
        whence,
        ..knock.clone()
    }))
}

/// Whether `hit` begins the one connection that `door` lets in. A packet that was sent again counts as well: the
/// first one may have come too early to be let in. A connection that came while the open command ran may have been
/// dropped, so it does not count. Without the kernel's stamp the order of the lines decides.
fn is_first_connection(
    door: &Door,
    hit: &Hit<'_>,
    open: &HashMap<(Arc<str>, IpAddr), Option<Time>>,
) -> bool {
    if !door.grant.once.contains(&hit.step) || !Scope::default().admits(hit) {
        return false;
    }
    let since = open.get(&(Arc::clone(&door.name), hit.src)).copied();
    since
        .flatten()
        .is_some_and(|since| hit.uptime.is_none() || hit.at >= since)
}
