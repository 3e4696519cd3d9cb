//! One kernel's clock, measured from outside: how old a line is by its kernel stamp.
//!
//! In: a kernel stamp and when its line came, on the comparing clock. Out: the line's age, or [`Reason::Stale`].
//! Where printk's clock begins is only known by comparing: the line of a boot that arrived fastest is the most
//! accurate, and the offset follows the drift.

use std::time::Duration;

use super::reason::Reason;
use super::time::Time;

pub(super) const SECOND: i64 = 1_000_000_000;
/// A kernel stamp that jumps back by more than this is a reboot.
const REBOOT: Duration = Duration::from_secs(1);
/// A stamp further ahead than this is not from the present.
pub(super) const AHEAD: i64 = 2 * SECOND;
/// How much the kernel's clock may drift: 200 in a million, more than any crystal does.
const DRIFT_PER_MILLION: i64 = 200;

/// A kernel's clock, as seen from the comparing one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    /// Its number, which no other kernel of the source has.
    pub(super) id: u16,
    /// Add to a kernel stamp for the comparing clock, in nanoseconds.
    pub(super) offset: i64,
    /// The same as the last line alone would have it.
    newest: i64,
    /// When the offset was looked at last, on the comparing clock.
    compared: Time,
    /// The kernel stamp of the last line; `None` before a line was placed.
    pub(super) latest: Option<Time>,
}

/// Kernels that may share one host name.
const MAX_KERNELS: usize = 4;
/// A kernel whose stamps go back by more than this while it was running is another one.
const ANOTHER: Duration = Duration::from_secs(60);

/// The kernels that log under one host name: more than one where two series of stamps alternate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kernels {
    /// The one heard last first.
    all: [Option<Kernel>; MAX_KERNELS],
}

impl Kernels {
    /// Whether none has been heard.
    pub(super) fn is_empty(&self) -> bool {
        let [first, ..] = &self.all;
        first.is_none()
    }

    /// The one that was heard last.
    pub(super) fn first_mut(&mut self) -> Option<&mut Kernel> {
        let [first, ..] = &mut self.all;
        first.as_mut()
    }

    /// The kernel to which a stamp of `uptime` belongs that lies `offset` from the comparing clock, put first:
    /// one whose stamps it does not go back in, and of these the nearest.
    pub(super) fn choose(&mut self, uptime: Time, offset: i64) -> Option<&mut Kernel> {
        let [_, second, ..] = &self.all;
        if second.is_some() {
            let known = self.all.iter().enumerate();
            let known = known.filter_map(|(place, kernel)| Some((place, (*kernel)?)));
            let nearest = known.min_by_key(|(_, kernel)| {
                let since = kernel.latest.map(|latest| uptime.since(latest));
                let is_back = kernel.has_jumped_back(uptime);
                (is_back, kernel.offset.abs_diff(offset), since)
            });
            let (place, _) = nearest?;
            self.all.get_mut(..=place)?.rotate_right(1);
        }
        let [first, ..] = &mut self.all;
        first.as_mut()
    }

    /// A kernel that was not heard before; the one that was heard longest ago may go for it.
    pub(super) fn begin(&mut self, kernel: Kernel) -> &mut Kernel {
        if let Some(before) = self.all.iter_mut().flatten().next() {
            before.offset = before.newest;
        }
        self.all.rotate_right(1);
        let [first, ..] = &mut self.all;
        first.insert(kernel)
    }
}

/// What shows that a line is of now, apart from the kernel's stamp in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// The stamp is of the kernel that we run on: our clocks.
    OurClocks,
    /// Another host's fresh header.
    Header,
    /// Only the host's earlier lines.
    Nobody,
}

impl Kernel {
    pub(super) fn new(id: u16, offset: i64, compared: Time) -> Self {
        Self {
            id,
            offset,
            newest: offset,
            compared,
            latest: None,
        }
    }

    /// Whether `uptime` is so much before the last line's that a reboot is between them.
    pub(super) fn has_jumped_back(&self, uptime: Time) -> bool {
        self.latest
            .is_some_and(|latest| latest > uptime.after(REBOOT))
    }

    /// Its number, if a stamp of `uptime` at `now` says that it has booted. A stamp far back, at a time when this
    /// kernel was still heard, is of another kernel.
    pub(super) fn booted_before(&self, uptime: Time, now: Option<Time>) -> Option<u16> {
        let was_heard = |now| {
            let elapsed = between(self.compared, now);
            uptime.as_nanos() > elapsed.saturating_add(AHEAD)
        };
        let latest = self.latest.filter(|_| self.has_jumped_back(uptime))?;
        let is_another = latest.since(uptime) > ANOTHER && now.is_some_and(was_heard);
        (!is_another).then_some(self.id)
    }

    /// Takes note of a line that lies `offset` from the comparing clock, at `now` there.
    pub(super) fn hear(&mut self, uptime: Time, offset: i64, now: Time) {
        (self.latest, self.newest, self.compared) = (Some(uptime), offset, now);
    }

    /// Whether a stamp that comes at `now` is of another kernel, or of this one's next boot: it goes back, or it
    /// is ahead by more than a late line explains. Without a witness only a boot since the last line can be.
    pub(super) fn is_left(
        &self,
        uptime: Time,
        now: Time,
        witness: Witness,
        max_age: Duration,
    ) -> bool {
        let elapsed = between(self.compared, now);
        let has_booted = uptime.as_nanos() <= elapsed.saturating_add(AHEAD);
        let ahead = self.offset.saturating_sub(between(uptime, now));
        let late = Duration::from_nanos(ahead.try_into().unwrap_or(0));
        match witness {
            Witness::OurClocks => false, // another boot of ours would have ended us
            Witness::Header => {
                self.has_jumped_back(uptime)
                    || late > max_age.saturating_mul(2).saturating_add(REBOOT)
            }
            Witness::Nobody => self.has_jumped_back(uptime) && has_booted,
        }
    }

    /// How old the line is, measured by the host's other lines: the one that came fastest sets the
    /// measure, and it may drift. A line that is far off begins a new measure if its header is fresh, and is
    /// [`Reason::Stale`] otherwise.
    pub(super) fn age(
        &mut self,
        uptime: Time,
        now: Time,
        witness: Witness,
        max_age: Duration,
    ) -> Result<Duration, Reason> {
        let offset = between(uptime, now);
        let elapsed = between(self.compared, now);
        let crept = self.offset.saturating_add(drift(elapsed)).min(offset);
        let mut age = Duration::from_nanos(offset.abs_diff(crept));
        self.offset = crept;
        if age > max_age && witness == Witness::Header {
            self.offset = offset;
            age = Duration::ZERO;
        } else if age > max_age {
            return Err(Reason::Stale);
        }
        let latest = match self.latest {
            Some(latest) if !self.has_jumped_back(uptime) => latest.max(uptime),
            _ => uptime,
        };
        self.hear(latest, self.offset, now);
        Ok(age)
    }
}

/// How far a clock may have drifted over `span` nanoseconds; zero for one that ran backwards.
pub(super) fn drift(span: i64) -> i64 {
    span.max(0) / 1_000_000 * DRIFT_PER_MILLION
}

/// From `earlier` to `later` in nanoseconds; negative when they are the other way round.
pub(super) fn between(earlier: Time, later: Time) -> i64 {
    later.as_nanos().saturating_sub(earlier.as_nanos())
}
