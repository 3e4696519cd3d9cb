//! Stamps → one clock: when a line's packet was seen, and whether that is now.
//!
//! In: the header's stamp, the kernel's stamp, and (live) when the line came. Out: a [`Time`] on the
//! engine's clock, or the [`Reason`] why the line is not about the present. The kernel's stamp is
//! exact but its origin is only known by comparing: printk's clock stops in suspend and drifts, so
//! it is compared with other kernel stamps of the same host, and an offset follows the drift.

use std::time::Duration;

use super::reason::Reason;
use super::time::Time;

const SECOND: i64 = 1_000_000_000;
/// Hosts whose kernel clocks are followed; the one longest unheard goes first.
const MAX_HOSTS: usize = 64;
/// A kernel stamp that jumps back by more than this is a reboot.
const REBOOT: Duration = Duration::from_secs(1);
/// A stamp further ahead than this is not from the present.
const AHEAD: Duration = Duration::from_secs(2);
/// In a file, header and kernel stamps that disagree by more than this are newly matched.
const DISAGREE: Duration = Duration::from_secs(2);
/// How much the kernel's clock may drift: 200 in a million, more than any crystal does.
const DRIFT_PER_MILLION: i64 = 200;

/// When a line came, on the three clocks that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The engine's clock (`CLOCK_BOOTTIME`): runs through suspend, never steps.
    pub now: Time,
    /// `CLOCK_MONOTONIC`: stops in suspend, as printk's clock does.
    pub awake: Time,
    /// The wall clock, from the Unix epoch.
    pub wall: Time,
}

/// What a line says of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps<'a> {
    /// The host in its header.
    pub host: &'a [u8],
    /// The header's stamp, from the Unix epoch.
    pub wall: Option<Wall>,
    /// The kernel's stamp, from that host's boot.
    pub uptime: Option<Time>,
}

/// A header's stamp in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// It named its zone.
    Exact(Time),
    /// It did not: whole half hours, up to two hours, may be the zone's and not the line's.
    Assumed(Time),
}

impl Wall {
    /// The stamp as it stands.
    pub const fn time(self) -> Time {
        match self {
            Self::Exact(time) | Self::Assumed(time) => time,
        }
    }
}

/// Where a line belongs on the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// When its packet was seen.
    pub at: Time,
    /// The host has booted since its last line.
    pub rebooted: bool,
}

#[derive(Debug)]
struct Host {
    name: Box<[u8]>,
    /// Add to a kernel stamp for the comparing clock, in nanoseconds.
    offset: i64,
    /// The latest kernel stamp, and when it came on the comparing clock.
    uptime: Time,
    heard: Time,
}

/// The clocks of the hosts whose lines are read.
#[derive(Debug)]
pub struct Timeline {
    max_age: Duration,
    /// This host, as its syslog names it; its kernel stamps are near `CLOCK_MONOTONIC`.
    this_host: Box<[u8]>,
    hosts: Vec<Host>,
    /// In a file: the last line's place, for lines without any stamp.
    latest: Time,
}

impl Timeline {
    /// A timeline that takes lines up to `max_age` old. `this_host` is this machine's name.
    pub fn new(max_age: Duration, this_host: impl Into<Box<[u8]>>) -> Self {
        Self {
            max_age,
            this_host: this_host.into(),
            hosts: Vec::new(),
            latest: Time::default(),
        }
    }

    /// Takes lines up to `max_age` old from now on.
    pub fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    /// Places a line that came just now.
    pub fn place_live(&mut self, stamps: Stamps<'_>, received: Received) -> Result<Placed, Reason> {
        if let Some(wall) = stamps.wall {
            self.check_wall(wall, received.wall)?;
        }
        let Some(uptime) = stamps.uptime else {
            return Ok(Placed {
                at: received.now,
                rebooted: false,
            });
        };
        let is_ours = self.is_ours(stamps.host);
        let offset = received.awake.as_nanos().saturating_sub(uptime.as_nanos());
        if is_ours {
            self.check_age(offset, drift(uptime.as_nanos()))?;
        }
        let limit = if stamps.wall.is_some() || is_ours {
            None
        } else {
            Some(self.max_age)
        };
        let host = self.host(stamps.host, uptime, offset, received.awake);
        let rebooted = host.uptime.since(uptime) > REBOOT;
        if rebooted {
            host.offset = offset;
        } else {
            let crept = host
                .offset
                .saturating_add(drift(received.awake.as_nanos() - host.heard.as_nanos()));
            host.offset = crept.min(offset);
        }
        let age = Duration::from_nanos(offset.saturating_sub(host.offset).unsigned_abs());
        if limit.is_some_and(|limit| age > limit) {
            return Err(Reason::Stale);
        }
        host.uptime = if rebooted {
            uptime
        } else {
            host.uptime.max(uptime)
        };
        host.heard = received.awake;
        Ok(Placed {
            at: received.now.before(age),
            rebooted,
        })
    }

    /// Places a line of a file on the file's own time.
    pub fn place_logged(&mut self, stamps: Stamps<'_>) -> Placed {
        let mut placed = Placed {
            at: self.latest,
            rebooted: false,
        };
        match (stamps.uptime, stamps.wall.map(Wall::time)) {
            (None, None) => {}
            (None, Some(wall)) => placed.at = wall,
            (Some(uptime), wall) => {
                let offset =
                    wall.map_or(0, |wall| wall.as_nanos().saturating_sub(uptime.as_nanos()));
                let host = self.host(stamps.host, uptime, offset, uptime);
                placed.rebooted = host.uptime.since(uptime) > REBOOT;
                let disagree =
                    host.offset.saturating_sub(offset).saturating_abs() > nanos(DISAGREE);
                if placed.rebooted || disagree {
                    host.offset = offset;
                }
                host.uptime = uptime;
                placed.at = Time::from_nanos(uptime.as_nanos().saturating_add(host.offset));
            }
        }
        self.latest = placed.at;
        placed
    }

    /// Whether a header's stamp is about now. A stale zone shifts it by whole half hours.
    fn check_wall(&self, wall: Wall, now: Time) -> Result<(), Reason> {
        const HALF_HOUR: i64 = 1_800 * SECOND;
        let mut age = now.as_nanos().saturating_sub(wall.time().as_nanos());
        if matches!(wall, Wall::Assumed(_)) {
            let shift = (age + age.signum() * HALF_HOUR / 2) / HALF_HOUR;
            age -= shift.clamp(-4, 4) * HALF_HOUR;
        }
        self.check_age(age, SECOND)
    }

    /// Whether `age` in nanoseconds, known to within `slack`, is neither too old nor in the future.
    fn check_age(&self, age: i64, slack: i64) -> Result<(), Reason> {
        if age > nanos(self.max_age).saturating_add(slack) {
            Err(Reason::Stale)
        } else if age < -nanos(AHEAD).saturating_add(slack) {
            Err(Reason::Future)
        } else {
            Ok(())
        }
    }

    fn is_ours(&self, host: &[u8]) -> bool {
        let short = |name: &[u8]| {
            name.split(|&byte| byte == b'.')
                .next()
                .unwrap_or(b"")
                .to_ascii_lowercase()
        };
        host.is_empty() || (!self.this_host.is_empty() && short(host) == short(&self.this_host))
    }

    fn host(&mut self, name: &[u8], uptime: Time, offset: i64, heard: Time) -> &mut Host {
        let place = self
            .hosts
            .iter()
            .position(|host| host.name.as_ref() == name)
            .unwrap_or_else(|| {
                if self.hosts.len() == MAX_HOSTS {
                    let oldest = self
                        .hosts
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, host)| host.heard)
                        .map_or(0, |(i, _)| i);
                    self.hosts.swap_remove(oldest);
                }
                self.hosts.push(Host {
                    name: name.into(),
                    offset,
                    uptime,
                    heard,
                });
                self.hosts.len() - 1
            });
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        &mut self.hosts[place]
    }
}

/// How far a clock may have drifted over `span` nanoseconds; zero for one that ran backwards.
fn drift(span: i64) -> i64 {
    span.max(0) / 1_000_000 * DRIFT_PER_MILLION
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}
