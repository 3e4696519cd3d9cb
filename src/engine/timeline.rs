//! Stamps → one clock: when a line's packet was seen, and whether that is now.
//!
//! In: the header's stamp, the kernel's stamp, and (live) when the line came. Out: a [`Time`] on the
//! engine's clock, or the [`Reason`] why the line is not about the present. The kernel's stamp is
//! exact but its origin is only known by comparing: printk's clock stops in suspend and drifts, so
//! it is compared with other kernel stamps of the same host, and an offset follows the drift. One
//! timeline is for one source: two of them deliver the same kernel's lines at different paces.

use std::time::Duration;

use super::kernel::{AHEAD, Kernel, Kernels, SECOND, Witness, between, drift};
use super::reason::Reason;
use super::time::{Time, nanos};

/// Hosts whose clocks are followed; the one longest unheard goes first.
const MAX_HOSTS: usize = 64;
/// In a file, a header that went on by so much more than the kernel's clock saw a suspend.
const SUSPENDED: i64 = 2 * SECOND;
/// In a file, a kernel's stamps that went on by so much more than the header are of another kernel: the header
/// may be late by as long as a syslog takes to start.
const LATE: i64 = 3600 * SECOND;
/// In a file, this many packets ahead are used to find when a boot began.
const MAX_AHEAD: usize = 1024;
/// No logged stamp is later than this (the year 2189): later times leave no room for windows to end, and a log with
/// one line of the year 9999 would never end.
const END: Time = Time::from_nanos(i64::MAX / 4 * 3);
/// A header without a zone is believed whole quarters of an hour beside now (Nepal is at +5:45): a few when it is the
/// only witness (a zone changed under a running syslog), and any number when the kernel's own stamp is fresh.
const QUARTER: i64 = 900 * SECOND;
const QUARTERS_ALONE: i64 = 8;
const QUARTERS_WITNESSED: i64 = 26 * 4;

/// When a line came, on the three clocks that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The engine's clock (`CLOCK_BOOTTIME`): runs through suspend, never steps.
    pub now: Time,
    /// `CLOCK_MONOTONIC`: stops in suspend, as printk's clock does.
    pub awake: Time,
    /// The wall clock, from the Unix epoch.
    pub wall: Time,
    /// Whether it may have been written long before, while no process read. Then only a stamp can tell that it is
    /// fresh, and no zone is guessed.
    pub late: bool,
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
    /// It did not: whole quarters of an hour may be the zone's and not the line's.
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
    /// The number of the kernel that stamped it; 0 where none did.
    pub kernel: u16,
    /// The kernel that has booted since its last line.
    pub rebooted: Option<u16>,
}

#[derive(Debug)]
struct Host {
    name: Box<[u8]>,
    clocks: Clocks,
    /// When its last line came.
    heard: Time,
}

/// What is known of one host's clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    kernels: Kernels,
    /// The latest header stamp that was believed, as it stood.
    header: Option<Time>,
}

/// Whether this machine has slept, which two of its clocks tell together.
#[derive(Clone, Copy, Debug, Default)]
struct Sleep {
    /// Time asleep since the boot, at the last look, in nanoseconds.
    total: Option<i64>,
    /// The first look after the last sleep, on the clock that stops in suspend.
    noticed: Option<Time>,
}

/// The clocks of the hosts whose lines one source brings.
#[derive(Debug)]
pub struct Timeline {
    max_age: Duration,
    /// This host, as its syslog names it; its kernel stamps are near `CLOCK_MONOTONIC`.
    this_host: Box<[u8]>,
    hosts: Vec<Host>,
    sleep: Sleep,
    /// In a file: the last line's place, for lines without any stamp.
    latest: Time,
    /// How many kernels have been heard.
    kernels: u16,
}

impl Timeline {
    /// A timeline that takes lines up to `max_age` old. `this_host` is this machine's name.
    pub fn new(max_age: Duration, this_host: impl Into<Box<[u8]>>) -> Self {
        Self {
            max_age,
            this_host: this_host.into(),
            hosts: Vec::new(),
            sleep: Sleep::default(),
            latest: Time::default(),
            kernels: 0,
        }
    }

    /// Takes lines up to `max_age` old from now on.
    pub fn set_max_age(&mut self, max_age: Duration) {
        self.max_age = max_age;
    }

    /// Learns the clock of a host that was not heard before from the newest of the lines that came
    /// together, so that the older ones keep their distance from it.
    pub fn calibrate(&mut self, stamps: Stamps<'_>, received: Received) {
        let mut clocks = self.clocks_of(stamps.host);
        if let Some(uptime) = stamps.uptime
            && clocks.kernels.is_empty()
        {
            let offset = between(uptime, received.awake);
            let kernel = Kernel::new(self.new_id(), offset, received.awake);
            clocks.kernels.begin(kernel);
            self.remember(stamps.host, clocks, received.awake);
        }
    }

    /// Places a line that came just now; never later than now. A refused line teaches nothing.
    pub fn place_live(&mut self, stamps: Stamps<'_>, received: Received) -> Result<Placed, Reason> {
        self.sleep.look(received);
        let mut clocks = self.clocks_of(stamps.host);
        let witness = match (stamps.uptime, stamps.wall) {
            (Some(_), _) if self.is_ours(stamps.host) => Witness::OurClocks,
            (_, Some(_)) => Witness::Header,
            (_, None) => Witness::Nobody,
        };
        if received.late && witness == Witness::Nobody {
            return Err(Reason::Stale);
        }
        if let Some(wall) = stamps.wall {
            // A stamp that our own clocks confirm proves that the line is of now, whatever the host is called:
            // a container has another name and zone than the machine.
            let is_confirmed = |uptime| self.check_our_kernel(uptime, received).is_ok();
            let beside = if stamps.uptime.is_some_and(is_confirmed) {
                Witness::OurClocks
            } else {
                witness
            };
            self.check_header(wall, clocks.header, beside, received)?;
            clocks.header = clocks.header.max(Some(wall.time()));
        }
        let mut placed = Placed {
            at: received.now,
            kernel: 0,
            rebooted: None,
        };
        let mut seen = received.awake;
        if let Some(uptime) = stamps.uptime {
            if witness == Witness::OurClocks {
                self.check_our_kernel(uptime, received)?;
            }
            let (now, max_age) = (received.awake, self.max_age);
            let offset = between(uptime, now);
            let known = clocks.kernels.choose(uptime, offset).copied();
            placed.rebooted = known.and_then(|kernel| kernel.booted_before(uptime, Some(now)));
            let is_other = |kernel: Kernel| kernel.is_left(uptime, now, witness, max_age);
            let kernel = if known.is_none_or(is_other) {
                clocks
                    .kernels
                    .begin(Kernel::new(self.new_id(), offset, now))
            } else {
                clocks.kernels.first_mut().ok_or(Reason::Stale)?
            };
            placed.kernel = kernel.id;
            let age = kernel.age(uptime, now, witness, max_age)?;
            placed.at = received.now.before(age);
            seen = received.awake.before(age);
        }
        if !matches!(stamps.wall, Some(Wall::Exact(_))) && self.sleep.may_precede(seen) {
            return Err(Reason::Stale);
        }
        self.remember(stamps.host, clocks, received.awake);
        Ok(placed)
    }

    /// Places a line of a file on the file's own time. Between two lines of one boot the kernel's stamps say how much
    /// time passed, unless the header says more: a suspend. If it says less, a syslog was late and wrote many lines
    /// at once: of the first line of a boot and those `ahead`, the line that was written fastest gives the time of
    /// the boot.
    pub fn place_logged<'a>(
        &mut self,
        stamps: Stamps<'a>,
        ahead: impl Iterator<Item = Stamps<'a>>,
    ) -> Placed {
        let latest = self.latest;
        let mut placed = Placed {
            at: latest,
            kernel: 0,
            rebooted: None,
        };
        match (stamps.uptime, stamps.wall.map(Wall::time)) {
            (None, None) => {}
            (None, Some(wall)) => placed.at = wall,
            (Some(uptime), wall) => {
                let new = self.next_id();
                let mut heard = self.kernels;
                let host = self.host_of(stamps.host);
                let kernels = &mut host.clocks.kernels;
                let offset = match wall {
                    Some(wall) => between(uptime, wall),
                    None if kernels.is_empty() => 0,
                    None => between(uptime, latest),
                };
                let now = wall.unwrap_or(latest);
                let known = kernels.choose(uptime, offset).copied();
                placed.rebooted = known.and_then(|kernel| kernel.booted_before(uptime, wall));
                let is_other = |kernel: Kernel| {
                    let ahead = kernel.offset.saturating_sub(offset);
                    kernel.has_jumped_back(uptime) || (wall.is_some() && ahead > LATE)
                };
                if known.is_none_or(is_other) {
                    let offset =
                        wall.map_or(offset, |_| undelayed(stamps.host, uptime, offset, ahead));
                    kernels.begin(Kernel::new(new, offset, now));
                    heard = new;
                } else if let Some(kernel) = kernels.first_mut()
                    && wall.is_some()
                    && offset.saturating_sub(kernel.offset) > SUSPENDED
                {
                    kernel.offset = undelayed(stamps.host, uptime, offset, ahead);
                }
                if let Some(kernel) = kernels.first_mut() {
                    kernel.hear(uptime, offset, now);
                    placed.kernel = kernel.id;
                    placed.at = Time::from_nanos(uptime.as_nanos().saturating_add(kernel.offset));
                }
                host.heard = placed.at;
                self.kernels = heard;
            }
        }
        placed.at = placed.at.min(END);
        self.latest = placed.at;
        placed
    }

    /// Whether a header's stamp is about now. `before` is the host's latest one.
    fn check_header(
        &self,
        wall: Wall,
        before: Option<Time>,
        witness: Witness,
        received: Received,
    ) -> Result<(), Reason> {
        let mut age = between(wall.time(), received.wall);
        if let Wall::Assumed(stamp) = wall {
            let rounding = age.signum() * QUARTER / 2;
            let quarters = age.saturating_add(rounding) / QUARTER;
            let most = match witness {
                _ if received.late => 0,
                Witness::OurClocks => QUARTERS_WITNESSED,
                Witness::Header | Witness::Nobody => {
                    // A wrong zone is wrong for every line: one that goes back is an old line.
                    let has_gone_back = before.is_some_and(|before| between(stamp, before) > AHEAD);
                    if quarters != 0 && has_gone_back {
                        return Err(Reason::Stale);
                    }
                    QUARTERS_ALONE
                }
            };
            age -= quarters.clamp(-most, most) * QUARTER;
        }
        // Whole seconds are cut off, never rounded up.
        self.check_past(age, SECOND)?;
        check_future(age.saturating_neg(), 0)
    }

    /// Whether a stamp of our own kernel can be of now, as far as its clock and ours agree. Whether
    /// printk's stops in suspend depends on the machine: none runs ahead of the boot clock.
    fn check_our_kernel(&self, uptime: Time, received: Received) -> Result<(), Reason> {
        let slack = drift(uptime.as_nanos());
        self.check_past(between(uptime, received.awake), slack)?;
        check_future(between(received.now, uptime), slack)
    }

    /// Whether `age` in nanoseconds, known to within `slack`, is not too much.
    fn check_past(&self, age: i64, slack: i64) -> Result<(), Reason> {
        if age > nanos(self.max_age).saturating_add(slack) {
            return Err(Reason::Stale);
        }
        Ok(())
    }

    /// Whether this host's kernel is the one that we run on.
    pub fn is_ours(&self, host: &[u8]) -> bool {
        fn short(name: &[u8]) -> &[u8] {
            name.split(|&byte| byte == b'.').next().unwrap_or(name)
        }
        host.is_empty()
            || (!self.this_host.is_empty()
                && short(host).eq_ignore_ascii_case(short(&self.this_host)))
    }

    /// A number for a kernel that is heard for the first time.
    fn new_id(&mut self) -> u16 {
        self.kernels = self.next_id();
        self.kernels
    }

    fn next_id(&self) -> u16 {
        self.kernels.wrapping_add(1).max(1)
    }

    fn clocks_of(&self, name: &[u8]) -> Clocks {
        let host = self.hosts.iter().find(|host| host.name.as_ref() == name);
        host.map(|host| host.clocks).unwrap_or_default()
    }

    fn remember(&mut self, name: &[u8], clocks: Clocks, heard: Time) {
        let host = self.host_of(name);
        (host.clocks, host.heard) = (clocks, heard);
    }

    /// The host called `name`; a new one where it is not known, for which the one longest unheard may go.
    fn host_of(&mut self, name: &[u8]) -> &mut Host {
        let place = self.hosts.iter().position(|host| *host.name == *name);
        let place = place.unwrap_or_else(|| {
            if self.hosts.len() == MAX_HOSTS {
                let hosts = self.hosts.iter().enumerate();
                let oldest = hosts.min_by_key(|(_, host)| host.heard);
                let oldest = oldest.map_or(0, |(place, _)| place);
                self.hosts.swap_remove(oldest);
            }
            self.hosts.push(Host {
                name: name.into(),
                clocks: Clocks::default(),
                heard: Time::default(),
            });
            self.hosts.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        &mut self.hosts[place]
    }
}

impl Sleep {
    /// Compares the two clocks again.
    fn look(&mut self, received: Received) {
        let total = between(received.awake, received.now);
        if self
            .total
            .is_some_and(|before| total.saturating_sub(before) > AHEAD)
        {
            self.noticed = Some(received.awake);
        }
        self.total = Some(total);
    }

    /// Whether what was seen at `seen` may have been seen before the last sleep: it may have waited
    /// unread, and the clock that stopped meanwhile does not tell.
    fn may_precede(&self, seen: Time) -> bool {
        self.noticed.is_some_and(|noticed| seen <= noticed)
    }
}

/// The offset of a boot whose first line has this one, as far as the lines `ahead` know it better.
fn undelayed<'a>(
    host: &[u8],
    first: Time,
    offset: i64,
    ahead: impl Iterator<Item = Stamps<'a>>,
) -> i64 {
    let mut before = first;
    let of_host = ahead.take(MAX_AHEAD).filter(|line| line.host == host);
    let stamped = of_host.filter_map(|line| Some((line.uptime?, line.wall?.time())));
    let of_boot = stamped.take_while(|&(uptime, _)| {
        let goes_on = uptime >= before;
        before = before.max(uptime);
        goes_on
    });
    let fastest = of_boot.map(|(uptime, wall)| between(uptime, wall)).min();
    // Up to a second is the header's rounding.
    fastest
        .filter(|fastest| offset.saturating_sub(*fastest) > SUSPENDED)
        .unwrap_or(offset)
}

/// Whether a stamp `ahead` of now, known to within `slack`, can still be of now.
fn check_future(ahead: i64, slack: i64) -> Result<(), Reason> {
    if ahead > AHEAD.saturating_add(slack) {
        return Err(Reason::Future);
    }
    Ok(())
}

#[cfg(test)]
#[path = "timeline_file_test.rs"]
mod file_tests;
#[cfg(test)]
#[path = "timeline_kernel_test.rs"]
mod kernel_tests;
#[cfg(test)]
#[path = "timeline_test.rs"]
mod tests;
