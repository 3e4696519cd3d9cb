//! journald: the kernel's messages in the journal of this boot, through `journalctl --follow`.
//!
//! In: journal entries as JSON. Out: those that the kernel wrote, as lines of the form of `/dev/kmsg`. journalctl is
//! started again whenever it ends, from the last entry that was seen on; that entry comes once more and proves that
//! nothing is missing between. journald holds back a single message for 250 to 500 ms, for every reader; kmsg does
//! not.

mod entry;
mod journalctl;

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;

use self::entry::Entry;
pub use self::journalctl::Journalctl;
use self::journalctl::latest;
use super::assembler::{Assembler, Yield};
use super::outbox::Outbox;
use super::thread::{self, Stop, Woken};
use super::{Closed, Handle, Health, Refusal, Sink, Trouble, kmsg};
use crate::clock;
use crate::engine::reason::Reason;
use crate::privsep::{Journal, StartJournal, Wanted};

/// The longest entry that is looked at.
const MAX_ENTRY: usize = 1 << 20;
/// How many bytes are read at once.
const BLOCK_SIZE: usize = 64 << 10;
/// How long to wait before journalctl is started again: at first, and at most.
const RESTART_WAIT: Duration = Duration::from_millis(100);
const MAX_RESTART_WAIT: Duration = Duration::from_secs(10);
/// A journalctl that has not ended by then does its work, though it says nothing.
const SETTLED: Duration = Duration::from_secs(1);

/// How long an entry may take to the journal once another witness has it.
const HELD_BACK: Duration = Duration::from_secs(2);

/// How the journal is read.
#[derive(Debug)]
pub struct Options {
    /// After this long without an entry, another place shows whether there should have been one.
    pub silence: Duration,
    /// Tells whether the kernel has logged anything: its own log. Without one, another journalctl.
    pub witness: Option<kmsg::Witness>,
    /// The only boot whose entries count, as the journal writes it.
    pub boot: String,
}

impl Options {
    /// With the kernel's own log, if it may be read. What has to be opened for it is opened here: the following
    /// process may have lost the right to do so.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            silence: Duration::from_secs(60),
            witness: kmsg::Witness::new(),
            boot: boot()?,
        })
    }
}

/// This boot, as the journal writes it.
fn boot() -> io::Result<String> {
    Ok(clock::boot_id()?.replace('-', ""))
}

/// Follows the journal in a thread of its own, from now on. A journal that may not be read is refused; an empty
/// journal is waited for.
pub fn spawn(
    source: u16,
    mut start: StartJournal,
    options: Options,
    sink: impl Sink,
) -> Result<Handle, Refusal> {
    let cursor = latest(&mut start)?;
    let follow = move |stop| Follower {
        start,
        entries: Entries {
            outbox: Outbox::new(sink),
            boot: options.boot,
            cursor,
            expected: None,
            came: false,
            is_stuck: false,
        },
        watchdog: Watchdog {
            silence: options.silence,
            kmsg: options.witness,
            is_suspicious: false,
        },
        stop,
    };
    Ok(thread::start("journal", source, move |stop| {
        follow(stop).run();
    })?)
}

struct Follower {
    start: StartJournal,
    entries: Entries,
    watchdog: Watchdog,
    stop: Stop,
}

/// Notices a journalctl that shows nothing any more though there is something to show: it can hang in
/// a corrupt file for ever, and a journald that is gone looks like a quiet night.
struct Watchdog {
    silence: Duration,
    kmsg: Option<kmsg::Witness>,
    /// The last look found something that the journal may not have been able to show yet.
    is_suspicious: bool,
}

impl Watchdog {
    /// How long to wait for an entry.
    fn timeout(&self) -> Duration {
        if self.is_suspicious {
            HELD_BACK.min(self.silence)
        } else {
            self.silence
        }
    }

    /// An entry came.
    fn feed(&mut self) {
        if let Some(kmsg) = self.kmsg.as_mut().filter(|_| self.is_suspicious) {
            kmsg.has_seen_something();
        }
        self.is_suspicious = false;
    }

    /// Nothing came in time. Whether that is wrong, with `cursor` at the last entry.
    fn is_wrong(&mut self, start: &mut StartJournal, cursor: Option<&str>) -> bool {
        if std::mem::replace(&mut self.is_suspicious, false) {
            return true;
        }
        self.is_suspicious = match &mut self.kmsg {
            Some(kmsg) => kmsg.has_seen_something(),
            None => matches!(latest(start), Ok(Some(latest)) if Some(&*latest) != cursor),
        };
        false
    }
}

/// Why a journalctl is not read any more.
enum End {
    /// The source is to end.
    Asked,
    /// It did not do what it should.
    Trouble(Trouble),
}

impl From<Closed> for End {
    fn from(Closed: Closed) -> Self {
        Self::Asked
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Trouble(Trouble::Ended(None))
    }
}

impl Follower {
    fn run(mut self) {
        let mut pause = RESTART_WAIT;
        loop {
            let started = clock::monotonic_now();
            let Err(End::Trouble(trouble)) = self.follow() else {
                return;
            };
            if trouble == Trouble::Stuck {
                self.entries.skip_to(latest(&mut self.start));
            }
            let health = Health::Degraded(trouble);
            if clock::monotonic_now().since(started) > MAX_RESTART_WAIT {
                pause = RESTART_WAIT;
            }
            if self.entries.outbox.send_all(health) == Err(Closed)
                || self.stop.wait(None, Some(pause)) == Woken::Stop
            {
                return;
            }
            pause = (pause * 2).min(MAX_RESTART_WAIT);
        }
    }

    /// Reads one journalctl to its end.
    fn follow(&mut self) -> Result<(), End> {
        let mut running = (self.start)(&Wanted::From(self.entries.cursor.clone()))?;
        self.entries.begin();
        let mut lines = Assembler::for_lines_up_to(MAX_ENTRY);
        let mut piece = vec![0; BLOCK_SIZE];
        let mut settled = false;
        loop {
            let timeout = if settled {
                self.watchdog.timeout()
            } else {
                SETTLED
            };
            match self.stop.wait(Some(running.output.as_fd()), Some(timeout)) {
                Woken::Stop => return Err(End::Asked),
                Woken::Timeout if settled => {
                    let cursor = self.entries.cursor.as_deref();
                    if self.watchdog.is_wrong(&mut self.start, cursor) {
                        return Err(End::Trouble(Trouble::Stuck));
                    }
                }
                Woken::Timeout => settled = true,
                Woken::Input => {
                    let length = read(&mut running, &mut piece)?;
                    let piece = piece.get(..length).unwrap_or_default();
                    lines.push(piece, &mut |yielded| self.entries.take(yielded));
                    settled |= self.entries.came;
                    self.watchdog.feed();
                }
            }
            self.entries.tell(settled)?;
        }
    }
}

fn read(running: &mut Journal, piece: &mut [u8]) -> Result<usize, End> {
    match rustix::io::read(&running.output, piece) {
        Ok(0) => Err(End::Trouble(Trouble::Ended((running.end)()))),
        Ok(length) => Ok(length),
        Err(Errno::INTR) => Ok(0),
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

/// Turns entries into lines, each once over all journalctls.
struct Entries {
    outbox: Outbox,
    boot: String,
    /// The position of the last entry in the journal.
    cursor: Option<String>,
    /// The entry that has been seen before and comes first, if nothing is missing.
    expected: Option<String>,
    /// Whether this journalctl has shown an entry.
    came: bool,
    /// Whether the last journalctl was stuck, and nothing new has come since.
    is_stuck: bool,
}

impl Entries {
    /// A journalctl has been started at the last entry.
    fn begin(&mut self) {
        self.expected.clone_from(&self.cursor);
        self.came = false;
    }

    /// The journal was stuck, and would be again where it was: go on at the latest entry.
    fn skip_to(&mut self, latest: Result<Option<String>, Refusal>) {
        self.is_stuck = true;
        let latest = latest.ok().flatten();
        if latest.is_some() && latest != self.cursor {
            self.cursor = latest;
            self.outbox.lose(None);
        }
    }

    fn take(&mut self, yielded: Yield<'_>) {
        match yielded {
            Yield::Dropped(reason) => self.outbox.take_line(Err(reason)),
            Yield::Lines { bytes, .. } => bytes
                .split_inclusive(|&byte| byte == b'\n')
                .for_each(|json| self.take_entry(json)),
        }
    }

    fn take_entry(&mut self, json: &[u8]) {
        let Some(entry) = Entry::read(json) else {
            self.outbox.take_line(Err(Reason::Grammar));
            return;
        };
        self.came = true;
        if let Some(last) = self.expected.take() {
            if last == entry.cursor {
                return;
            }
            self.outbox.lose(None);
        }
        self.is_stuck = false;
        if let Some(loss) = entry.missed(&self.boot) {
            self.outbox.lose(loss.count);
            self.cursor = Some(entry.cursor);
            return;
        }
        let line = entry.line(&self.boot);
        let line = line.as_deref().map_err(|&reason| reason);
        self.outbox.take_line(line);
        self.cursor = Some(entry.cursor);
    }

    /// Hands over what there is, and the health once it is known.
    fn tell(&mut self, settled: bool) -> Result<(), Closed> {
        if !settled {
            return self.outbox.flush();
        }
        self.outbox.send_all(match self.cursor {
            _ if self.is_stuck => Health::Degraded(Trouble::Stuck),
            Some(_) => Health::Following,
            None => Health::Degraded(Trouble::NoKernelMessages),
        })
    }
}

#[cfg(test)]
#[path = "journal_test.rs"]
mod tests;
