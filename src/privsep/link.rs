//! The follower's end: asks go out, and what the runner says comes in.
//!
//! In: the descriptor that the runner left as our standard input. Out: [`Welcome`] first, read by
//! the only thread there is yet; then, once [`Link::start`] was called, everything else by one call
//! back. When the runner has gone, [`Heard::Gone`] is
//! the last word, and nothing is to be done any more.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ask::{Ask, Read};
use super::asks::{Asks, Waiting};
use super::channel::Channel;
use super::message::VERSION;
use super::tell::{MAX_TELL, Restored, Tell};
use crate::engine::answered::Last;
use crate::engine::time::Time;

/// How long a journalctl may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest configuration, in bytes.
const MAX_RULES: usize = 64 * 1024 * 1024;

/// What the runner says at the start.
#[derive(Debug)]
pub struct Welcome {
    /// The highest number that a grant ever had.
    pub last_id: u64,
    /// How often the service manager wants to hear that the loop turns.
    pub alive_every: Option<Duration>,
    /// How often a follower has been started before this one.
    pub restarts: u32,
    /// The standard input of the runner, if lines are to be read from there.
    pub stdin: Option<OwnedFd>,
    /// What is open.
    pub grants: Vec<Restored>,
    /// By door, before which Unix time its one-time sequences are used.
    pub used: Vec<(String, i64)>,
    /// By door and address, when a knock was last answered, and the packet that completed it.
    pub answered: Vec<(String, IpAddr, Time, Last)>,
    /// The configuration.
    pub rules: String,
}

/// What the runner says later.
#[derive(Debug)]
pub enum Heard {
    /// A command of a grant ended, a disk refused: anything that is for the loop as it is.
    Tell(Tell),
    /// A configuration, or why there is no new one.
    Rules(Result<String, String>),
    /// The runner has gone.
    Gone,
}

/// The follower's end, once it runs.
#[derive(Debug)]
pub struct Link {
    asks: Asks,
    journals: Journals,
    writer: Option<thread::JoinHandle<()>>,
    /// What the threads need, which are not started yet.
    ours: Option<(Channel, Waiting)>,
}

/// Starts journalctls, which only the runner can.
#[derive(Clone, Debug)]
pub struct Journals {
    asks: Asks,
    /// Who waits for which source.
    asked: Arc<Mutex<Asked>>,
}

/// By the number of the source.
type Asked = Vec<(u16, SyncSender<Answer>)>;

/// What came of it.
#[derive(Debug)]
enum Answer {
    Started(OwnedFd),
    Failed(i32),
    Ended(Option<i32>),
}

impl Link {
    /// Takes the end that is `descriptor`, and reads what is said first.
    pub fn open(descriptor: OwnedFd) -> io::Result<(Self, Welcome)> {
        let channel = Channel::new(descriptor);
        let welcome = welcome(&channel).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "this is how logknock starts itself, and not for the hand",
            )
        })?;
        let (asks, waiting) = Asks::new(channel.try_clone()?);
        let journals = Journals {
            asks: asks.clone(),
            asked: Arc::default(),
        };
        let link = Self {
            asks,
            journals,
            writer: None,
            ours: Some((channel, waiting)),
        };
        Ok((link, welcome))
    }

    /// Whether the runner is still there.
    pub fn is_attended(&self) -> bool {
        let Some((channel, _)) = &self.ours else {
            return true;
        };
        let mut end = [PollFd::new(channel, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // An end that nobody has the other end of says so unasked.
        poll(&mut end, Some(&now)) == Ok(0)
    }

    /// Sends and receives from now on, on threads of its own; `hear` may wait.
    pub fn start(&mut self, mut hear: impl FnMut(Heard) + Send + 'static) -> io::Result<()> {
        let Some((channel, waiting)) = self.ours.take() else {
            return Ok(());
        };
        let journals = self.journals.clone();
        thread::Builder::new()
            .name("hear".to_owned())
            .spawn(move || hear_all(&channel, &journals, &mut hear))?;
        self.writer = Some(waiting.start()?);
        Ok(())
    }

    /// Asks. Never waits.
    pub fn ask(&self, ask: Ask) {
        // Who has gone need not be asked.
        drop(self.asks.send(ask));
    }

    /// Who starts journalctls.
    pub fn journals(&self) -> Journals {
        self.journals.clone()
    }

    /// A way to ask for others than the loop.
    pub fn asks(&self) -> Asks {
        self.asks.clone()
    }

    /// Sends what waits, and [`Ask::Done`] as the last.
    pub fn finish(mut self) {
        self.ask(Ask::Done);
        if let Some(writer) = self.writer.take() {
            // It ends behind that ask, or with the runner.
            drop(writer.join());
        }
    }
}

fn welcome(channel: &Channel) -> Option<Welcome> {
    let mut room = vec![0; MAX_TELL];
    let (bytes, stdin) = channel.receive_with(&mut room).ok()?;
    let Tell::Hello {
        version: VERSION,
        last_id,
        alive_every,
        restarts,
        stdin: has_stdin,
    } = Tell::decode(bytes)?
    else {
        return None;
    };
    let mut welcome = Welcome {
        last_id,
        alive_every: alive_every.map(Duration::from_millis),
        restarts,
        stdin: stdin.filter(|_| has_stdin),
        grants: Vec::new(),
        used: Vec::new(),
        answered: Vec::new(),
        rules: String::new(),
    };
    loop {
        match Tell::decode(channel.receive(&mut room).ok()?)? {
            Tell::Grant(grant) => welcome.grants.push(grant),
            Tell::Used { door, until } => welcome.used.push((door, until)),
            Tell::Answered {
                door,
                src,
                at,
                last,
            } => {
                let at = Time::from_nanos(at);
                welcome.answered.push((door, src, at, last.last()));
            }
            Tell::Rules { more, piece } => {
                welcome.rules.push_str(&piece);
                if !more {
                    return Some(welcome);
                }
            }
            _ => return None,
        }
    }
}

fn hear_all(channel: &Channel, journals: &Journals, hear: &mut impl FnMut(Heard)) {
    let mut room = vec![0; MAX_TELL];
    let mut rules = String::new();
    while let Some(tell) = next(channel, &mut room, journals) {
        match tell {
            Tell::Rules { more, piece } => {
                rules.push_str(&piece);
                if rules.len() > MAX_RULES {
                    break;
                }
                if !more {
                    hear(Heard::Rules(Ok(std::mem::take(&mut rules))));
                }
            }
            Tell::NotReloaded(why) => hear(Heard::Rules(Err(why))),
            tell => hear(Heard::Tell(tell)),
        }
    }
    journals.asked().clear();
    hear(Heard::Gone);
}

/// The next message that is for others than the journals; `None` at the end.
fn next(channel: &Channel, room: &mut [u8], journals: &Journals) -> Option<Tell> {
    loop {
        let (bytes, descriptor) = channel.receive_with(room).ok()?;
        match (Tell::decode(bytes)?, descriptor) {
            (Tell::Journal(source), Some(output)) => {
                journals.answer(source, Answer::Started(output));
            }
            (Tell::NoJournal(source, errno), _) => journals.answer(source, Answer::Failed(errno)),
            (Tell::JournalEnded(source, how), _) => journals.answer(source, Answer::Ended(how)),
            (tell, _) => return Some(tell),
        }
    }
}

impl Journals {
    /// Starts a journalctl for a source: its output, or the kernel's number.
    pub fn start(&self, source: u16, read: Read) -> io::Result<OwnedFd> {
        match self.ask(source, Ask::Journal { source, read })? {
            Answer::Started(output) => Ok(output),
            Answer::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
            Answer::Ended(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the journalctl of a source, and says how it ended.
    pub fn end(&self, source: u16, latest: bool) -> Option<i32> {
        match self.ask(source, Ask::JournalEnd { source, latest }) {
            Ok(Answer::Ended(how)) => how,
            _ => None,
        }
    }

    fn ask(&self, source: u16, ask: Ask) -> io::Result<Answer> {
        let (answer, answered) = sync_channel(1);
        self.asked().push((source, answer));
        if self.asks.send(ask).is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        answered
            .recv_timeout(PATIENCE)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
                RecvTimeoutError::Disconnected => io::ErrorKind::BrokenPipe.into(),
            })
    }

    fn answer(&self, source: u16, answer: Answer) {
        let mut asked = self.asked();
        if let Some(at) = asked.iter().position(|(number, _)| *number == source) {
            let (_, place) = asked.remove(at);
            // Who does not wait any more does not want it.
            drop(place.try_send(answer));
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
