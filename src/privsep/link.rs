//! The detector's end of the socket.
//!
//! In: the descriptor that the monitor left as our standard input. Out: [`Welcome`] first, read by the
//! only thread there is yet; then, once [`Link::start`] was called, everything else by one call back.
//! When the monitor has gone, [`Heard::Gone`] is the last word, and nothing is to be done any more.
//!
//! To say something may wait for the monitor, which never waits for us.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::{Broken, Channel};
use super::message::{MAX_TO_DETECTOR, Piece, Record, ToDetector, ToMonitor, VERSION, Wanted};

/// How long a journalctl may take to start or to end.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest configuration, in bytes.
const MAX_RULES: usize = 64 * 1024 * 1024;

/// The first message of the monitor.
#[derive(Debug, Default)]
pub struct Welcome {
    /// How often the service manager wants to hear that the loop turns.
    pub alive_every: Option<Duration>,
    /// The standard input of the monitor, if lines are to be read from there.
    pub stdin: Option<OwnedFd>,
    /// The files for records; none for a file that cannot be opened now.
    pub records: Vec<(Record, Option<OwnedFd>)>,
    /// What is open, used and answered, each as it was said.
    pub known: Vec<ToDetector>,
    /// The configuration.
    pub rules: String,
}

/// A later message of the monitor.
#[derive(Debug)]
pub enum Heard {
    /// Something for the loop as it is, and the descriptor that came along.
    Message(ToDetector, Option<OwnedFd>),
    /// A whole configuration.
    Rules(String),
    /// The monitor has gone.
    Gone,
}

/// The detector's end.
#[derive(Clone, Debug)]
pub struct Link {
    channel: Arc<Channel>,
    journals: Journals,
}

/// Starts a journalctl.
pub type StartJournal = Box<dyn FnMut(&Wanted) -> io::Result<Journal> + Send>;

/// A journalctl that runs.
pub struct Journal {
    /// What it prints.
    pub output: OwnedFd,
    /// Its end.
    pub end: EndJournal,
}

/// Ends a journalctl, if it has not ended, and says how it did. Dropping it ends it too.
pub type EndJournal = Box<dyn FnMut() -> Option<ExitStatus> + Send>;

/// Starts journalctls, which only the monitor can.
#[derive(Clone, Debug)]
pub struct Journals {
    channel: Arc<Channel>,
    /// The reader that waits for each source.
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
    /// Takes the end that is `descriptor`, and reads the first message.
    pub fn open(descriptor: OwnedFd) -> io::Result<(Self, Welcome)> {
        let channel = Arc::new(Channel::new(descriptor));
        let welcome = welcome(&channel).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "only logknock itself starts its detector",
            )
        })?;
        let journals = Journals {
            channel: Arc::clone(&channel),
            asked: Arc::default(),
        };
        Ok((Self { channel, journals }, welcome))
    }

    /// Whether the monitor is still there.
    pub fn is_attended(&self) -> bool {
        let mut end = [PollFd::new(&*self.channel, PollFlags::empty())];
        let now = Timespec::default();
        // poll reports unasked when the other end is closed.
        poll(&mut end, Some(&now)) == Ok(0)
    }

    /// Receives from now on, on a thread of its own; `hear` may wait.
    pub fn start(&self, mut hear: impl FnMut(Heard) + Send + 'static) -> io::Result<()> {
        let (channel, journals) = (Arc::clone(&self.channel), self.journals.clone());
        thread::Builder::new()
            .name("hear".to_owned())
            .spawn(move || hear_all(&channel, &journals, &mut hear))
            .map(drop)
    }

    /// Sends a message. It is dropped if the monitor has gone.
    pub fn say(&self, message: &ToMonitor) {
        let _ = say(&self.channel, message);
    }

    /// The process that starts journalctl.
    pub fn journals(&self) -> Journals {
        self.journals.clone()
    }
}

fn say(channel: &Channel, message: &ToMonitor) -> Result<(), Broken> {
    // What is too long is no finding: the monitor would not read it.
    message
        .encode()
        .map_or(Ok(()), |bytes| channel.send(&bytes))
}

fn welcome(channel: &Channel) -> Option<Welcome> {
    let mut room = vec![0; MAX_TO_DETECTOR];
    let (bytes, stdin) = channel.receive_with(&mut room).ok()?;
    let ToDetector::Hello {
        version: VERSION,
        alive_every,
        stdin: has_stdin,
    } = ToDetector::decode(bytes)?
    else {
        return None;
    };
    let mut welcome = Welcome {
        alive_every: alive_every.map(Duration::from_millis),
        stdin: stdin.filter(|_| has_stdin),
        ..Welcome::default()
    };
    loop {
        let (bytes, descriptor) = channel.receive_with(&mut room).ok()?;
        match ToDetector::decode(bytes)? {
            known @ (ToDetector::Open(..) | ToDetector::Used(..) | ToDetector::Answered { .. }) => {
                welcome.known.push(known);
            }
            ToDetector::Record(record) => welcome.records.push((record, descriptor)),
            ToDetector::Rules(Piece { more, text }) => {
                welcome.rules.push_str(&text);
                if !more {
                    return Some(welcome);
                }
            }
            _ => return None,
        }
    }
}

fn hear_all(channel: &Channel, journals: &Journals, hear: &mut impl FnMut(Heard)) {
    let mut room = vec![0; MAX_TO_DETECTOR];
    let mut rules = String::new();
    while let Ok((bytes, descriptor)) = channel.receive_with(&mut room) {
        match (ToDetector::decode(bytes), descriptor) {
            (None, _) => break,
            (Some(ToDetector::Journal(source)), Some(output)) => {
                journals.answer(source, Answer::Started(output));
            }
            (Some(ToDetector::NoJournal(source, errno)), _) => {
                journals.answer(source, Answer::Failed(errno));
            }
            (Some(ToDetector::JournalEnded(source, how)), _) => {
                journals.answer(source, Answer::Ended(how));
            }
            (Some(ToDetector::Rules(Piece { more, text })), _) => {
                rules.push_str(&text);
                if rules.len() > MAX_RULES {
                    break;
                }
                if !more {
                    hear(Heard::Rules(std::mem::take(&mut rules)));
                }
            }
            (Some(message), descriptor) => hear(Heard::Message(message, descriptor)),
        }
    }
    journals.asked().clear();
    hear(Heard::Gone);
}

impl Journals {
    /// Starts those of `source`.
    pub fn of(self, source: u16) -> StartJournal {
        Box::new(move |wanted| {
            let wanted = wanted.clone();
            let latest = wanted == Wanted::Latest;
            let output = match self.ask(source, &ToMonitor::Journal { source, wanted })? {
                Answer::Started(output) => output,
                Answer::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Answer::Ended(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            let mut started = Started {
                journals: self.clone(),
                source,
                end: Some(ToMonitor::JournalEnd { source, latest }),
            };
            Ok(Journal {
                output,
                end: Box::new(move || started.end()),
            })
        })
    }

    fn ask(&self, source: u16, message: &ToMonitor) -> io::Result<Answer> {
        let (answer, answered) = sync_channel(1);
        self.asked().push((source, answer));
        if say(&self.channel, message).is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        answered
            .recv_timeout(JOURNAL_TIMEOUT)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
                RecvTimeoutError::Disconnected => io::ErrorKind::BrokenPipe.into(),
            })
    }

    fn answer(&self, source: u16, answer: Answer) {
        let mut asked = self.asked();
        if let Some(at) = asked.iter().position(|(number, _)| *number == source) {
            let (_, place) = asked.remove(at);
            // A caller that has given up does not want it.
            drop(place.try_send(answer));
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journalctl that the monitor has started; it ends when this is dropped.
struct Started {
    journals: Journals,
    source: u16,
    /// What ends it; `None` once that was said.
    end: Option<ToMonitor>,
}

impl Started {
    fn end(&mut self) -> Option<ExitStatus> {
        match self.journals.ask(self.source, &self.end.take()?) {
            Ok(Answer::Ended(how)) => how.map(ExitStatus::from_raw),
            _ => None,
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.end();
    }
}
