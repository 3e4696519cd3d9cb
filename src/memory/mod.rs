//! The last events of each address, so that a failed knock can be explained.
//!
//! In: the engine's events, packets with what became of them, losses. Out: [`Happening`]s of one address, and their
//! meaning at each door ([`picture`]). Bounded in addresses, of which the least recent one goes first, and in events
//! of each. Repeats of an event are one event with a count, so a scanner cannot fill it. No port of a door's knock
//! leaves it.

pub mod picture;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::calendar::rfc3339;
use crate::dialect::{self, Verdict};
use crate::engine::detection::Detection;
use crate::engine::event::{Event, EventKind, View, Whence};
use crate::engine::packet::{Packet, Ports};
use crate::engine::reason::Reason;
use crate::engine::sequence::Step;
use crate::engine::time::Time;
use crate::protocol::{Happening, Seen};

/// Losses that are remembered.
const MAX_LOSSES: usize = 16;
/// Events that are remembered for every address: of those that a stranger can cause, and of others.
const MAX_RECENT: usize = 16;
/// Two rules or sources log one packet within this; the kernel sends none again as soon (RFC 6298: 1 s).
const LOGGED_TWICE: Duration = Duration::from_millis(100);

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Addresses.
    pub addresses: usize,
    /// Things of each.
    pub notes: usize,
}

impl Default for Limits {
    /// What the daemon keeps: about a megabyte.
    fn default() -> Self {
        Self {
            addresses: 1024,
            notes: 16,
        }
    }
}

/// What happened to whom. Its times are on one clock of the caller's.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    addresses: HashMap<IpAddr, Notes>,
    /// When each address was last seen, the oldest first.
    ages: BTreeMap<u64, IpAddr>,
    age: u64,
    losses: VecDeque<Note>,
    recent: [VecDeque<(IpAddr, Note)>; 2],
}

/// Facts about the memory that only the caller knows.
pub struct Reader<'a> {
    /// The name of a source.
    pub name: &'a dyn Fn(u16) -> Option<String>,
    /// A time from the Unix epoch, where that is known.
    pub wall: &'a dyn Fn(Time) -> Option<Time>,
    /// Whether a port is one of a knock by now.
    pub is_secret: &'a dyn Fn(u16) -> bool,
}

#[derive(Debug, Default)]
struct Notes {
    age: u64,
    notes: VecDeque<Note>,
}

#[derive(Clone, Debug)]
struct Note {
    at: Time,
    /// Of several alike, when the first was.
    since: Time,
    what: What,
    whence: Option<Whence>,
    times: u64,
    packet: Option<PacketNote>,
}

#[derive(Clone, Debug)]
struct PacketNote {
    ports: Option<Ports>,
    /// The port that it came to, where no door has it.
    step: Option<Step>,
    views: Vec<View>,
    late: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Event(EventKind, Arc<str>),
    /// It counted, and no door was waiting for it.
    Hit,
    Rejected(Reason),
    /// The same packet, so soon after that it was logged twice.
    Twin,
    Lost(Option<u64>),
}

impl Memory {
    /// An empty memory.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            addresses: HashMap::new(),
            ages: BTreeMap::new(),
            age: 0,
            losses: VecDeque::new(),
            recent: [VecDeque::new(), VecDeque::new()],
        }
    }

    /// Remembers an event.
    pub fn event(&mut self, event: &Event) {
        let what = What::Event(event.kind, Arc::clone(&event.door));
        let note = Note::new(event.at, what, event.whence);
        let [cheap, other] = &mut self.recent;
        let recent = if event.kind.is_cheap() { cheap } else { other };
        recent.truncate(MAX_RECENT - 1);
        recent.push_front((event.src, note.clone()));
        self.note(event.src, note);
    }

    /// The last events of all addresses, the oldest first.
    pub fn recent(&self, reader: &Reader<'_>) -> Vec<Happening> {
        let kinds = self.recent.iter();
        let mut recent: Vec<_> = kinds.flat_map(|kind| kind.iter().rev()).collect();
        recent.sort_by_key(|(_, note)| note.at);
        let told = recent.into_iter().map(|(src, note)| Happening {
            src: Some(*src),
            ..note.happening(reader)
        });
        told.collect()
    }

    /// Remembers a packet of `detection`'s, after its events: what these tell is not told twice. `late` is by how much
    /// it came later than its stamp, where that is why it did not count.
    pub fn packet(
        &mut self,
        detection: &Detection,
        packet: &Packet<'_>,
        at: Time,
        whence: Whence,
        verdict: Result<(), Reason>,
        late: Option<Duration>,
    ) {
        let (views, step) = detection.views(packet, at, whence.source);
        let seen = PacketNote {
            ports: packet.headers.ports,
            step,
            views,
            late,
        };
        let kept = self.addresses.get_mut(&packet.headers.src);
        let what = match verdict {
            Ok(()) => {
                let notes = kept
                    .into_iter()
                    .flat_map(|kept| kept.notes.iter_mut().rev());
                let mut told = notes
                    .take_while(|note| note.whence == Some(whence))
                    .peekable();
                if told.peek().is_some() {
                    told.for_each(|note| note.packet = Some(seen.clone()));
                    return;
                }
                What::Hit
            }
            Err(Reason::Duplicate) => {
                let is_same = |note: &&Note| {
                    let packet = note.packet.as_ref();
                    packet.is_some_and(|packet| packet.ports == seen.ports)
                };
                let same = kept.and_then(|kept| kept.notes.iter().rev().find(is_same));
                match same {
                    Some(same) if at.since(same.at) < LOGGED_TWICE => What::Twin,
                    _ => What::Rejected(Reason::Duplicate),
                }
            }
            Err(reason) => What::Rejected(reason),
        };
        let note = Note::new(at, what, Some(whence));
        self.note(
            packet.headers.src,
            Note {
                packet: Some(seen),
                ..note
            },
        );
    }

    /// Remembers a line that is not believed, and that is about a packet from `src`, as it says.
    pub fn line(
        &mut self,
        detection: &Detection,
        (line, src): (&[u8], IpAddr),
        at: Time,
        whence: Whence,
        reason: Reason,
    ) {
        match dialect::read(line).verdict() {
            Verdict::Packet(packet) if packet.headers.src == src => {
                self.packet(detection, &packet, at, whence, Err(reason), None);
            }
            _ => self.note(src, Note::new(at, What::Rejected(reason), Some(whence))),
        }
    }

    /// Remembers that `source` has lost lines, and how many if that is known.
    pub fn lost(&mut self, source: u16, at: Time, count: Option<u64>) {
        let whence = Whence { source, line: 0 };
        self.losses.truncate(MAX_LOSSES - 1);
        self.losses
            .push_front(Note::new(at, What::Lost(count), Some(whence)));
    }

    /// What is remembered of `src`, and what was lost since, the oldest first.
    pub fn of(&self, src: IpAddr, reader: &Reader<'_>) -> Vec<Happening> {
        let notes = self.addresses.get(&src).map(|notes| notes.notes.iter());
        let mut notes: Vec<_> = notes.into_iter().flatten().collect();
        let since = notes.first().map(|note| note.since);
        let losses = self.losses.iter().rev();
        notes.extend(losses.filter(|loss| since.is_none_or(|since| loss.at >= since)));
        notes.sort_by_key(|note| note.at);
        notes.iter().map(|note| note.happening(reader)).collect()
    }

    fn note(&mut self, src: IpAddr, note: Note) {
        let Self {
            limits,
            addresses,
            ages,
            age,
            ..
        } = self;
        *age += 1;
        let kept = addresses.entry(src).or_default();
        ages.remove(&kept.age);
        kept.age = *age;
        ages.insert(*age, src);
        if let Some(last) = kept.notes.back_mut().filter(|last| last.is_like(&note)) {
            let (since, times) = (last.since, last.times + 1);
            *last = Note {
                since,
                times,
                ..note
            };
        } else {
            if kept.notes.len() >= limits.notes {
                kept.notes.pop_front();
            }
            kept.notes.push_back(note);
        }
        if addresses.len() > limits.addresses
            && let Some((_, oldest)) = ages.pop_first()
        {
            addresses.remove(&oldest);
        }
    }
}

impl Note {
    fn new(at: Time, what: What, whence: Option<Whence>) -> Self {
        Self {
            at,
            since: at,
            what,
            whence,
            times: 1,
            packet: None,
        }
    }

    /// Whether both are the same but for when they were.
    fn is_like(&self, other: &Self) -> bool {
        let doors = |note: &Self| {
            let views = note.packet.iter().flat_map(|packet| &packet.views);
            let doors = views.map(|view| (Arc::clone(&view.door), view.step, view.reason));
            doors.collect::<Vec<_>>()
        };
        self.what == other.what && doors(self) == doors(other)
    }

    fn happening(&self, reader: &Reader<'_>) -> Happening {
        let mut happening = Happening {
            time: (reader.wall)(self.at).map(rfc3339),
            at_us: self.at.as_nanos() / 1000,
            since_us: (self.times > 1).then_some(self.since.as_nanos() / 1000),
            file: self.whence.and_then(|whence| (reader.name)(whence.source)),
            line: self
                .whence
                .map(|whence| whence.line)
                .filter(|&line| line > 0),
            times: self.times,
            ..Happening::default()
        };
        let (event, reason) = match &self.what {
            What::Hit => ("hit", None),
            What::Rejected(reason) => ("rejected", Some(reason.as_str())),
            What::Twin => ("rejected", Some("logged_twice")),
            What::Lost(lines) => {
                happening.lines = *lines;
                ("lost", None)
            }
            What::Event(kind, door) => {
                happening.door = Some(door.to_string());
                (happening.stage, happening.of) = kind.progress().unzip();
                (kind.as_str(), kind.reason())
            }
        };
        event.clone_into(&mut happening.event);
        happening.reason = reason.map(str::to_owned);
        if let Some(packet) = &self.packet {
            let shown = packet.step.filter(|step| !(reader.is_secret)(step.port));
            happening.port = shown.map(|step| format!("{}/{}", step.port, step.transport.as_str()));
            happening.late_ms = packet
                .late
                .and_then(|late| late.as_millis().try_into().ok());
            happening.seen = packet.views.iter().map(seen).collect();
        }
        happening
    }
}

fn seen(view: &View) -> Seen {
    Seen {
        door: view.door.to_string(),
        step: view.step,
        of: view.of,
        reason: view.reason.map(|reason| reason.as_str().to_owned()),
        left_seconds: view.left.map(|left| left.as_secs()),
    }
}

/// The addresses that a line which is not believed gives as those of its packet.
pub fn named(line: &[u8]) -> impl Iterator<Item = IpAddr> {
    let words = memchr::memmem::find_iter(line, b"SRC=").filter_map(|place| {
        let rest = line.get(place + 4..)?;
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        str::from_utf8(rest.get(..end)?).ok()
    });
    let addresses = words.filter_map(|word| word.parse::<IpAddr>().ok());
    addresses.map(|address| address.to_canonical())
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
