//! The detector as the monitor sees it: a child, and a socket to it.
//!
//! In: messages for it. Out: what it says. It is this program again, under another name. Nothing here waits for it:
//! unread messages are kept up to a bound. A detector that lets more wait, or sends a malformed message, is killed.
//! When the monitor is killed, the kernel ends it too.
#![expect(
    clippy::disallowed_types,
    reason = "the detector is a process of its own"
)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::child::Owned;
use crate::privsep::{Broken, Channel, MAX_TO_MONITOR, ToDetector, ToMonitor};

/// This program, whatever has become of its file.
pub(super) const OURSELVES: &str = "/proc/self/exe";
/// Bytes that may wait for it in addition to the configuration …
const MAX_UNREAD: usize = 8 * 1024 * 1024;
/// … and descriptors.
const MAX_DESCRIPTORS: usize = 16;
/// Messages that are taken from it in one turn: what becomes of them is carried out before the next.
const MAX_MESSAGES: usize = 64;
/// How long it may take to write its records when it has nothing more to say.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);

/// The arguments of its start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The name that makes it the detector.
    pub name: &'static str,
    /// Our own arguments.
    pub arguments: Vec<OsString>,
}

impl Start {
    /// What starts it; the service manager is not its business.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(OURSELVES);
        command
            .arg0(self.name)
            .args(&self.arguments)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID");
        command
    }
}

/// The child.
pub(super) struct Detector {
    child: Owned,
    channel: Channel,
    unread: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    bytes: usize,
    descriptors: usize,
    /// The configuration may be larger than all else.
    allowance: usize,
}

impl Detector {
    /// Starts it.
    pub(super) fn start(start: &Start) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let child = start.command().stdin(Stdio::from(theirs)).spawn()?;
        Ok(Self::new(Owned::new(child), channel))
    }

    fn new(child: Owned, channel: Channel) -> Self {
        Self {
            child,
            channel,
            unread: VecDeque::new(),
            bytes: 0,
            descriptors: 0,
            allowance: MAX_UNREAD,
        }
    }

    /// Lets a configuration of this size wait in addition to the rest.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.allowance = MAX_UNREAD.saturating_add(bytes.saturating_mul(2));
    }

    /// Tells it something.
    pub(super) fn tell(
        &mut self,
        message: &ToDetector,
        along: Option<OwnedFd>,
    ) -> Result<(), Broken> {
        let bytes = message.encode().ok_or(Broken::Garbage)?;
        self.bytes += bytes.len();
        self.descriptors += usize::from(along.is_some());
        self.unread.push_back((bytes, along));
        self.flush()?;
        if self.bytes > self.allowance || self.descriptors > MAX_DESCRIPTORS {
            return Err(Broken::Deaf);
        }
        Ok(())
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        while let Some((bytes, along)) = self.unread.front() {
            if !self
                .channel
                .try_send(bytes, along.as_ref().map(AsFd::as_fd))?
            {
                break;
            }
            self.bytes -= bytes.len();
            self.descriptors -= usize::from(along.is_some());
            self.unread.pop_front();
        }
        Ok(())
    }

    /// Whether something waits for room.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// What it has said, up to a bound. What is said before the end comes before the end.
    pub(super) fn hear(&self) -> (Vec<ToMonitor>, Option<Broken>) {
        let mut heard = Vec::new();
        let mut room = vec![0; MAX_TO_MONITOR];
        while heard.len() < MAX_MESSAGES {
            match self.channel.try_receive(&mut room) {
                Ok(None) => break,
                Ok(Some(bytes)) => match ToMonitor::decode(bytes) {
                    // The end of a child is waited for: what is due is done before the next one.
                    Some(last @ (ToMonitor::Journal { .. } | ToMonitor::JournalEnd { .. })) => {
                        heard.push(last);
                        break;
                    }
                    Some(message) => heard.push(message),
                    None => return (heard, Some(Broken::Garbage)),
                },
                Err(why) => return (heard, Some(why)),
            }
        }
        (heard, None)
    }

    /// Its socket.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Ends it, if it has not ended, and says how it did.
    pub(super) fn end(mut self) -> Option<ExitStatus> {
        self.child.end(Duration::ZERO)
    }

    /// Lets it end by itself, for a moment.
    pub(super) fn let_end(mut self) {
        self.child.end(EXIT_TIMEOUT);
    }
}

#[cfg(test)]
#[path = "detector_test.rs"]
mod tests;
